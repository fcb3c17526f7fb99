"""Real clients of OpenAI's API, configured as their documentation says: its own for Python, and `llm`."""

import base64
import contextlib
import json
import os
import signal
import sqlite3
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from click.testing import CliRunner

from tests.bots.bot import payload
from tests.emulator import Emulator
from tests.encryption.vault import new_key
from tests.live import LiveServer
from tests.publication.api import limits
from tests.publication.openai.chat import PATH, user

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own imports warn
    from llm.cli import cli

SONNET = "claude-v4.5-sonnet"


@dataclass
class Published:
    """A published API on a server of its own."""

    server: LiveServer
    bedrock: Emulator
    dave: str
    bot_id: str
    endpoint: str
    key: str

    def client(self, key: str = "", **options: Any) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.endpoint}/v1", api_key=key or self.key, max_retries=0, **options)

    def owner(self, method: str, path: str, sent: Any = None) -> Any:
        status, answer = self.server.call(method, path, sent, token=self.dave)
        assert status == 200, answer
        return answer


@pytest.fixture(scope="module")
def live(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[LiveServer, Emulator, str, Callable[[], LiveServer]]]:
    file = tmp_path_factory.mktemp("database") / "live.sqlite3"
    secrets = {"ENCRYPTION_KEYS": new_key(), "SECRET_KEY": "x" * 60, "DATABASE_URL": f"sqlite:///{file}"}
    with Emulator() as bedrock:

        def make(**environment: str) -> LiveServer:
            return LiveServer(tmp_path_factory.mktemp("server"), bedrock.url, **secrets, **environment)

        with make() as server:
            dave = server.manage("issue_token", "dave", "--group", "CreatingBotAllowed", "--group", "PublishAllowed")
            yield server, bedrock, dave, make


@pytest.fixture
def publish(live: Any) -> Callable[..., Published]:
    """Publishes another bot of Dave's."""
    server, bedrock, dave, _ = live
    bedrock.reset()

    def make(bot_id: str, **fields: Any) -> Published:
        made = Published(server, bedrock, dave, bot_id, f"{server.url}/published/{bot_id}/api", "")
        made.owner("POST", "/bot", payload(bot_id))
        made.owner("PATCH", f"/bot/{bot_id}/visibility", {"targetSharedScope": "all"})
        made.owner("POST", f"/bot/{bot_id}/publication", limits(**fields))
        path = f"/bot/{bot_id}/publication/api-key"
        made.key = made.owner("GET", f"{path}/{made.owner('GET', path)[0]['id']}")["value"]
        return made

    return make


# ---- OpenAI's own client --------------------------------------------------------------------------------------------


def test_openais_client_asks_streams_shows_images_and_goes_on(publish: Any, png: str) -> None:
    api = publish("bot")
    client = api.client()
    assert client.models.list().data[0].id == SONNET

    answer = client.chat.completions.create(model="default", messages=[{"role": "user", "content": "Hello!"}])
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("Echo: Hello!", "stop")
    assert answer.usage is not None
    assert answer.usage.total_tokens > 0

    words = [{"role": "user", "content": "[[words:50]] [[pace:0.002]]"}]
    chunks = list(
        client.chat.completions.create(
            model=SONNET, messages=words, stream=True, stream_options={"include_usage": True}
        )
    )
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert len(text.split()) == 50
    assert chunks[-1].usage.completion_tokens == 50

    url = f"data:image/png;base64,{png}"
    parts = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": url}}]
    seen = client.chat.completions.create(model=SONNET, messages=[{"role": "user", "content": parts}])
    assert seen.choices[0].message.content == "I see an image."

    history: list[Any] = [{"role": "developer", "content": "Be brief."}]
    for number in range(20):
        history.append({"role": "user", "content": f"turn {number}"})
        answer = client.chat.completions.create(model=SONNET, messages=history, max_completion_tokens=100)
        history.append(answer.choices[0].message)
    assert answer.choices[0].message.content == "Echo: turn 19"
    assert len(api.bedrock.requests()[-1]["body"]["messages"]) == 39


def test_openais_client_raises_its_own_errors(publish: Any) -> None:
    api = publish("refusing", quota=4)
    hello: Any = [{"role": "user", "content": "hello"}]
    with pytest.raises(openai.PermissionDeniedError, match="Forbidden") as forbidden:
        api.client("nope").chat.completions.create(model=SONNET, messages=hello)
    assert forbidden.value.code == "invalid_api_key"
    client = api.client()
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(model="gpt-4o", messages=hello)
    assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.BadRequestError, match="not offered here") as tools:
        client.chat.completions.create(model=SONNET, messages=hello, n=2)
    assert tools.value.param == "n"
    with pytest.raises(openai.InternalServerError) as failed:
        client.chat.completions.create(model=SONNET, messages=[{"role": "user", "content": "[[denied]]"}])
    assert failed.value.status_code == 502
    with pytest.raises(openai.APIError, match="failed in the middle"):
        list(
            client.chat.completions.create(
                model=SONNET, messages=[{"role": "user", "content": "[[words:5]] [[streamerror]]"}], stream=True
            )
        )
    with pytest.raises(openai.RateLimitError) as over:
        client.chat.completions.create(model=SONNET, messages=hello)
    assert over.value.code == "insufficient_quota"
    assert int(over.value.response.headers["Retry-After"]) > 0


def test_openais_client_comes_back_when_it_is_told_to(publish: Any) -> None:
    api = publish("throttled", rate=1.0, burst=1)
    client = api.client().with_options(max_retries=2)
    begun = time.monotonic()
    for text in ("one", "two"):
        answer = client.chat.completions.create(model=SONNET, messages=[{"role": "user", "content": text}])
        assert answer.choices[0].message.content == f"Echo: {text}"
    assert time.monotonic() - begun > 0.5


# ---- llm ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def llm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs `llm` with a folder of its own, in which `extra-openai-models.yaml` names the API."""
    monkeypatch.setenv("LLM_USER_PATH", str(tmp_path))

    def run(api: Published, *arguments: str, model: str = "default", key: str = "") -> Any:
        (tmp_path / "extra-openai-models.yaml").write_text(
            f"- model_id: bot\n  model_name: {model}\n  api_base: {api.endpoint}/v1\n"
            "  api_key_name: bot\n  vision: true\n"
        )
        (tmp_path / "keys.json").write_text(json.dumps({"bot": key or api.key}))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return CliRunner().invoke(cli, ["-m", "bot", *arguments])

    return run


def test_llm_asks_streams_shows_images_and_goes_on(publish: Any, llm: Any, png: str, tmp_path: Path) -> None:
    api = publish("of-llm")
    assert llm(api, "Hello!").output.strip() == "Echo: Hello!"
    assert llm(api, "Hello!", "--no-stream", "-s", "Be brief.").output.strip() == "Echo: Hello!"
    request = api.bedrock.requests()[-1]
    assert request["operation"] == "Converse"
    assert {"text": "Be brief."} in request["body"]["system"]
    (tmp_path / "cat.png").write_bytes(base64.b64decode(png))
    assert llm(api, "What is it?", "-a", str(tmp_path / "cat.png")).output.strip() == "I see an image."
    llm(api, "turn 0", "-o", "temperature", "0.2", "-o", "max_tokens", "100")
    for number in range(1, 20):
        assert llm(api, "-c", f"turn {number}").output.strip() == f"Echo: turn {number}"
    assert len(api.bedrock.requests()[-1]["body"]["messages"]) == 39


def test_llm_says_what_is_refused(publish: Any, llm: Any) -> None:
    api = publish("refusing-llm", quota=3)
    refusals = {
        "403": llm(api, "hello", key="nope"),
        "does not exist here": llm(api, "hello", model="gpt-4o"),
        "not offered here": llm(api, "hello", "-o", "logit_bias", '{"1": 5}'),
        "Bedrock refused the request": llm(api, "[[validation]]"),
        "Limit Exceeded": llm(api, "hello"),
    }
    for words, done in refusals.items():
        assert done.exit_code == 1, words
        assert words in done.output


# ---- Clients that leave, and servers that end -----------------------------------------------------------------------


def calls(api: Published) -> list[tuple[bool, str, str]]:
    """Of each call to a model: whether its tokens are estimated, its stop reason and its fault."""
    file = api.server.environment["DATABASE_URL"].removeprefix("sqlite:///")
    statement = "SELECT estimated, stop_reason, fault FROM conversations_modelcall WHERE bot_id = ?"
    with contextlib.closing(sqlite3.connect(file, timeout=20)) as database:
        return [(bool(estimated), *rest) for estimated, *rest in database.execute(statement, [api.bot_id])]


def wait_until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_client_that_hangs_up_ends_the_call_to_the_model(publish: Any) -> None:
    """Before the first word of a stream, in the middle of one, and while it waits for the whole answer."""
    api = publish("left")
    headers = {"Authorization": f"Bearer {api.key}"}

    def outcomes() -> list[str]:
        return [request["outcome"] for request in api.bedrock.requests()]

    for number, (text, is_streamed) in enumerate([("[[silence:30]]", False), ("[[silence:30]]", True)]):
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(
                api.endpoint + PATH,
                json={"messages": [user(text)], "stream": is_streamed},
                headers=headers,
                timeout=httpx.Timeout(10, read=0.7),
            )
        wait_until(lambda: outcomes()[number:] == ["left"])  # noqa: B023  it is waited for here
    stream = api.client().chat.completions.create(
        model=SONNET, messages=[{"role": "user", "content": "[[words:9]] [[silence:30:after:4]]"}], stream=True
    )
    for chunk in stream:
        if chunk.choices[0].delta.content:
            break
    stream.close()
    wait_until(lambda: outcomes() == ["left"] * 3)
    wait_until(lambda: calls(api) == [(True, "stopped", "")] * 3)


def test_a_process_that_dies_leaves_the_row_of_the_call(publish: Any, live: Any) -> None:
    api = publish("died")
    with live[3]() as doomed:
        client = openai.OpenAI(base_url=f"{doomed.url}/published/died/api/v1", api_key=api.key, max_retries=0)
        stream = client.chat.completions.create(
            model=SONNET, messages=[{"role": "user", "content": "[[words:9]] [[silence:30:after:4]]"}], stream=True
        )
        next(iter(stream))
        os.kill(doomed.process.pid, signal.SIGKILL)
        with pytest.raises(Exception, match=r"Connection error|incomplete|closed|reset"):
            list(stream)
    assert calls(api) == [(True, "", "ProcessLost")]


def test_a_server_that_ends_says_so_in_its_streams(publish: Any, live: Any) -> None:
    api = publish("ending")
    with live[3](SHUTDOWN_GRACE="0.3") as ending:
        client = openai.OpenAI(base_url=f"{ending.url}/published/ending/api/v1", api_key=api.key, max_retries=0)
        stream = client.chat.completions.create(
            model=SONNET, messages=[{"role": "user", "content": "[[words:9]] [[silence:30:after:4]]"}], stream=True
        )
        next(iter(stream))
        ending.process.send_signal(signal.SIGTERM)
        with pytest.raises(openai.APIError, match="shutting down"):
            list(stream)
        assert ending.process.wait(10) == 0
    assert calls(api) == [(True, "", "Shutdown")]


def test_a_large_body_is_read_for_a_bearers_key_alone(publish: Any) -> None:
    api = publish("large")
    large = [{"role": "user", "content": "x" * 100_000}]
    answer = api.client().chat.completions.create(model=SONNET, messages=large)
    assert answer.choices[0].message.content
    with pytest.raises(openai.PermissionDeniedError) as refused:
        api.client("nope").chat.completions.create(model=SONNET, messages=large)
    assert refused.value.code == "invalid_api_key"
