"""The examples of the documentation run as they are written, also when the connection breaks."""

import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright._impl._driver import compute_driver_executable

from tests.emulator import Emulator
from tests.forking import client as forking
from tests.live import LiveServer

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "docs" / "examples"
NODE = compute_driver_executable()[0]  # Playwright brings a Node of its own
COMMANDS = {"stream.py": [sys.executable], "stream.mjs": [str(NODE)]}
PUBLISHED = {"published.py": [sys.executable], "published.mjs": [str(NODE)]}
STREAMED = {"published_stream.py": [sys.executable], "published_stream.mjs": [str(NODE)]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with Emulator() as bedrock, LiveServer(tmp_path_factory.mktemp("examples"), bedrock.url) as server:
        yield server


@pytest.fixture(scope="module")
def token(server: LiveServer) -> str:
    return server.manage("issue_token", "alice")


def run(name: str, token: str, url: str, text: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TOKEN": token, "BASE_URL": url}
    command = [*COMMANDS[name], str(EXAMPLES / name), text]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


class BreakingProxy:
    """A proxy to the server that breaks the first connection after `after` bytes of the response."""

    def __init__(self, server: LiveServer, after: int) -> None:
        self._target = ("127.0.0.1", int(server.url.rpartition(":")[2]))
        self._after = after
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.connections = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            client, _ = self._listener.accept()
            self.connections += 1
            limit = self._after if self.connections == 1 else sys.maxsize
            upstream = socket.create_connection(self._target)
            threading.Thread(target=self._copy, args=(client, upstream, sys.maxsize), daemon=True).start()
            threading.Thread(target=self._copy, args=(upstream, client, limit), daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket, limit: int) -> None:
        try:
            while limit > 0 and (data := source.recv(min(limit, 65536))):
                target.sendall(data)
                limit -= len(data)
        except OSError:
            pass
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def test_every_example_is_run() -> None:
    assert {path.name for path in EXAMPLES.iterdir()} == {*COMMANDS, *PUBLISHED, *STREAMED}


@pytest.mark.parametrize("name", COMMANDS)
def test_it_prints_the_answer_and_what_it_cost(server: LiveServer, token: str, name: str) -> None:
    done = run(name, token, server.url, "Hello! 日本語 [[throttle:1]]")
    assert done.stdout.strip() == "Echo: Hello! 日本語 [[throttle:1]]", done.stderr
    assert "next try in" in done.stderr
    assert re.search(r"\(end_turn, [\d.e-]+ USD\)", done.stderr)
    assert done.returncode == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_it_says_what_is_wrong(server: LiveServer, token: str, name: str) -> None:
    for bad_token, text, words in (("x", "hello", "cannot be verified"), (token, "[[denied]]", "no access")):
        done = run(name, bad_token, server.url, text)
        assert words in done.stderr
        assert done.returncode == 1
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_a_broken_connection_is_picked_up_where_it_broke(server: LiveServer, token: str, name: str) -> None:
    proxy = BreakingProxy(server, after=1700)
    done = run(name, token, proxy.url, "[[words:60]] [[pace:0.03]]")
    assert proxy.connections == 2
    assert len(done.stdout.split()) == 60, done.stdout
    assert done.returncode == 0


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("after", [0, 1200])
def test_what_is_told_again_is_printed_once(server: LiveServer, token: str, name: str, after: int) -> None:
    """With 1200 the turn is over when the program reconnects; with 0 its first request may or may not have arrived."""
    proxy = BreakingProxy(server, after=after)
    done = run(name, token, proxy.url, "[[words:60]]" if after else "[[words:60]] [[wait:0.5]]")
    assert proxy.connections >= 2
    assert len(done.stdout.split()) == 60, (done.stdout, done.stderr)
    assert done.returncode == 0


def test_the_readmes_program_runs(server: LiveServer, token: str) -> None:
    program = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert program is not None
    source = program[1].replace("http://localhost:8000", server.url)
    environment = {**os.environ, "TOKEN": token}
    done = subprocess.run(
        [sys.executable, "-c", source], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.splitlines() == ["Echo: Hello!", "Echo: And again."], done.stderr


def commands_of(text: str) -> list[tuple[str, str]]:
    """The commands of a page's console blocks, each with the output that the page shows."""
    lines = [line for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    commands: list[tuple[str, str]] = []
    for line in lines:
        if line.startswith("$ "):
            commands.append((line.removeprefix("$ "), ""))
        else:
            command, shown = commands.pop()
            commands.append((command, shown + line))
    return commands


def run_commands(server: LiveServer, *pages: str, **environment: str) -> None:
    """Runs the commands of some pages in one shell, one after the other, and compares. `…` stands for anything."""
    commands = [command for page in pages for command in commands_of((ROOT / "docs" / page).read_text())]
    assert len(commands) > 8
    end = "-- end of output --"
    script = "\n".join(f"{command}\necho '{end}'" for command, _ in commands)
    script = script.replace("http://localhost:8000", server.url).replace(".venv/bin/python", sys.executable)
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=ROOT,
        env={**server.environment, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stderr == ""
    for (command, shown), output in zip(commands, done.stdout.split(end), strict=False):
        pattern = ".*".join(map(re.escape, shown.split("…")))
        assert re.fullmatch(pattern, output.strip().replace("\n", ""), re.DOTALL), (command, output)
    assert done.stdout.count(end) == len(commands)


def test_the_commands_about_bots_answer_what_the_pages_show(server: LiveServer) -> None:
    run_commands(server, "BOTS.md", "BOTS-IN-GIT.md")


# ---- Published APIs -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def worker(server: LiveServer) -> Iterator[None]:
    command = [sys.executable, "manage.py", "run_worker"]
    with forking.Popen(command, cwd=ROOT, env=server.environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "Working" in process.stdout.readline()
        yield
        process.kill()


@pytest.fixture(scope="module")
def published(server: LiveServer, worker: None) -> dict[str, str]:
    """The environment of a program that calls Dave's API, which admits two questions a month."""
    dave = server.manage("issue_token", "dave", "--group", "CreatingBotAllowed", "--group", "PublishAllowed")
    bot = {"id": "example", "title": "Example", "instruction": ""}
    quota = {"limit": 2, "offset": 0, "period": "MONTH"}
    api = {"quota": quota, "throttle": {"rateLimit": 1, "burstLimit": 1}, "allowedOrigins": []}
    assert server.call("POST", "/bot", bot, token=dave)[0] == 200
    assert server.call("PATCH", "/bot/example/visibility", {"targetSharedScope": "all"}, token=dave)[0] == 200
    assert server.call("POST", "/bot/example/publication", api, token=dave)[0] == 200
    return {"ENDPOINT": f"{server.url}/published/example/api", "DAVE": dave}


def key_of(server: LiveServer, token: str) -> str:
    made = server.call("POST", "/bot/example/publication/api-key", {"description": ""}, token=token)
    return str(made[1]["value"])


def ask_api(name: str, environment: dict[str, str], key: str, text: str) -> subprocess.CompletedProcess[str]:
    command = [*(PUBLISHED | STREAMED)[name], str(EXAMPLES / name), text]
    kept = {**os.environ, **environment, "API_KEY": key}
    return subprocess.run(command, env=kept, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_program_asks_a_published_bot_and_waits(server: LiveServer, published: dict[str, str], name: str) -> None:
    """The second question comes before the throttle has room for it, and the third has no quota left."""
    key = key_of(server, published["DAVE"])
    for text in ("Hello! 日本語 [[wait:0.5]]", "Again"):
        done = ask_api(name, published, key, text)
        assert (done.stdout.strip(), done.returncode) == (f"Echo: {text}", 0), done.stderr
    done = ask_api(name, published, key, "Once more")
    assert (done.stdout, done.returncode) == ("", 1)
    assert "429" in done.stderr
    assert "Limit Exceeded" in done.stderr
    assert "Traceback" not in done.stderr


@contextmanager
def forgetful(url: str) -> Iterator[tuple[str, list[str]]]:
    """The address of a proxy that passes on everything but the answer to the first question; and what it passed on."""
    passed: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))) or None
            headers = {
                name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")
            }
            answer = httpx.request(self.command, url + self.path, content=body, headers=headers)
            passed.append(f"{self.command} {answer.status_code}")
            self.close_connection = True
            if passed.count("POST 200") == 1 and self.command == "POST":
                return
            self.send_response(answer.status_code)
            for name in {"Retry-After", "Content-Type"} & set(map(str.title, answer.headers)):
                self.send_header(name, answer.headers[name])
            self.end_headers()
            self.wfile.write(answer.content)

        do_GET = do_POST = pass_on  # noqa: N815

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{proxy.server_port}", passed
        proxy.shutdown()


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_program_whose_answer_got_lost_has_its_question_asked_once(
    server: LiveServer, published: dict[str, str], name: str
) -> None:
    key = key_of(server, published["DAVE"])
    path = published["ENDPOINT"].removeprefix(server.url)
    with forgetful(server.url) as (url, passed):
        done = ask_api(name, {"ENDPOINT": url + path}, key, "Hello!")
    assert (done.stdout.strip(), done.returncode) == ("Echo: Hello!", 0), done.stderr
    assert passed.count("POST 200") == 2
    left = httpx.post(published["ENDPOINT"] + "/conversation", json={}, headers={"x-api-key": key}).headers["RateLimit"]
    assert '"quota";r=0' in left, "of two questions one is used, and now the other one"


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_program_says_what_a_published_bot_refuses(server: LiveServer, published: dict[str, str], name: str) -> None:
    for key, text, words in (("nope", "hello", "403"), (key_of(server, published["DAVE"]), "[[validation]]", "409")):
        done = ask_api(name, published, key, text)
        assert words in done.stderr
        assert done.returncode == 1
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", STREAMED)
def test_a_program_prints_a_published_answer_as_it_comes_also_when_the_connection_breaks(
    server: LiveServer, published: dict[str, str], name: str
) -> None:
    proxy = BreakingProxy(server, after=1800)
    elsewhere = {**published, "ENDPOINT": published["ENDPOINT"].replace(server.url, proxy.url)}
    done = ask_api(name, elsewhere, key_of(server, published["DAVE"]), "[[words:60]] [[pace:0.03]]")
    assert proxy.connections == 2
    assert len(done.stdout.split()) == 60, (done.stdout, done.stderr)
    assert "end_turn" in done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize("name", STREAMED)
def test_a_program_that_streams_says_what_is_wrong(server: LiveServer, published: dict[str, str], name: str) -> None:
    for key, text, words in (
        ("nope", "hello", "Forbidden"),
        (key_of(server, published["DAVE"]), "[[validation]]", "request"),
    ):
        done = ask_api(name, published, key, text)
        assert words in done.stderr
        assert done.returncode == 1
        assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("worker")
def test_the_commands_about_apis_and_keys_answer_what_the_pages_show(server: LiveServer) -> None:
    run_commands(server, "PUBLISHING.md", "KEYS.md")


@pytest.mark.slow
@pytest.mark.usefixtures("worker")
def test_the_commands_about_the_store_guardrails_and_knowledge_answer_what_the_pages_show(server: LiveServer) -> None:
    run_commands(server, "STORE.md", "GUARDRAILS.md", "KNOWLEDGE.md")


# ---- Clients of OpenAI's API ----------------------------------------------------------------------------------------


def block_of(page: str, language: str, server: LiveServer) -> str:
    """The one block of a page in that language, for this server."""
    [block] = re.findall(rf"```{language}\n(.*?)```", (ROOT / "docs" / page).read_text(), re.DOTALL)
    return str(block.replace("http://localhost:8000", server.url))


@pytest.mark.slow
def test_the_page_about_openais_clients_is_true(server: LiveServer, tmp_path: Path) -> None:
    (tmp_path / "extra-openai-models.yaml").write_text(block_of("OPENAI.md", "yaml", server))
    run_commands(server, "OPENAI.md", LLM_USER_PATH=str(tmp_path))
    environment = {
        **os.environ,
        "OPENAI_BASE_URL": f"{server.url}/published/florist/api/v1",
        "OPENAI_API_KEY": server.manage("create_api_key", "florist", "program").splitlines()[-1],
    }
    done = subprocess.run(
        [sys.executable, "-c", block_of("OPENAI.md", "python", server)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.splitlines() == ["Echo: Hello!", "Echo: And again."], done.stderr
