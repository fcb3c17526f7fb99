"""The real server process: what is true of the product as a whole."""

import base64
import io
import json
import os
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bedrock_chat.identity import jwks, tokens
from tests.bots import travel
from tests.bots.bot import document
from tests.conversations.chat import payload
from tests.emulator import Emulator
from tests.forking import client as forking
from tests.live import ROOT, LiveServer

SLOW = bool(os.environ.get("SLOW"))
TURNS = 448 if SLOW else 24
PROMPT = "the secret of the prompt"


@pytest.fixture(scope="module")
def bedrock() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


def test_with_every_turn_blocked_short_requests_answer(bedrock: Emulator, tmp_path: Path) -> None:
    bedrock.reset()
    bedrock.script(wait=25 if SLOW else 8)
    limits = {"THREADS": str(TURNS * 8 // 7 + 1), "TURNS": str(TURNS), "TURNS_PER_USER": str(TURNS)}
    with LiveServer(tmp_path, bedrock.url, **limits) as server, ThreadPoolExecutor(TURNS) as pool:
        token = server.manage("issue_token", "alice")
        turns = [
            pool.submit(server.call, "POST", "/conversation", payload(f"c{n}", "hi"), token=token, timeout=90)
            for n in range(TURNS)
        ]
        deadline = time.monotonic() + 60
        while len(bedrock.requests()) < TURNS:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert server.call("GET", "/health")[0] == 200
        status, listed = server.call("GET", "/conversations", token=token)
        assert (status, len(listed)) == (200, TURNS)
        assert server.call("GET", "/console/login/")[0] == 200
        refused, body = server.call("POST", "/conversation", payload("one-too-many", "hi"), token=token)
        assert refused == 503
        assert body["errors"]
        assert not any(future.done() for future in turns)
        bedrock.reset()
        assert [future.result()[0] for future in turns] == [200] * TURNS


def test_logs_tell_of_every_request_and_nothing_of_what_was_said(bedrock: Emulator, tmp_path: Path) -> None:
    bedrock.reset()
    with LiveServer(tmp_path, bedrock.url, LOG_FORMAT="json", LOG_LEVEL="DEBUG", MODEL_RETRY_SECONDS="1") as server:
        token = server.manage("issue_token", "alice")
        for marker in (
            "",
            "[[denied]]",
            "[[validation]]",
            "[[streamerror]]",
            "[[throttle]]",
            "[[cut]]",
            "[[max_tokens]]",
        ):
            server.call("POST", "/conversation", payload(f"c{marker}", f"{PROMPT} {marker}"), token=token)
        server.call("POST", "/conversation", {"conversationId": PROMPT, "message": {"content": PROMPT}}, token=token)
        server.call("GET", "/conversation/c", token=token)
        server.call("GET", "/conversation/c/proposed-title", token=token)
        server.call("GET", "/conversations", token=token[:-3] + "abc")
        server.call("GET", f"/nothing/{token}")
        server.process.terminate()
        server.process.wait(timeout=30)
        logged = server.log.read_text()
    turns = [line for text in logged.splitlines() if (line := json.loads(text)).get("route") == "/conversation"]
    assert {line["status"] for line in turns} >= {200, 400, 502, 503}
    assert all({"request_id", "user_id", "method", "duration_ms"} <= set(line) for line in turns)
    answered = next(line for line in turns if line["status"] == 200)
    assert answered["model"] == "claude-v3.7-sonnet"
    assert answered["input_tokens"] > 0
    assert answered["price"] > 0
    assert "AccessDeniedException" in logged
    for secret in (PROMPT, "Echo:", "This answer stops", token, token.split(".")[1], token.split(".")[2]):
        assert secret not in logged, secret


def test_a_server_on_a_taken_port_says_so_in_one_sentence(bedrock: Emulator, tmp_path: Path) -> None:
    with LiveServer(tmp_path, bedrock.url) as server:
        for command in ("serve", "run"):
            environment = {**server.environment, "PORT": server.url.rpartition(":")[2]}
            done = forking.run(
                [sys.executable, "manage.py", command],
                cwd=ROOT,
                env=environment,
                capture_output=True,
                text=True,
                timeout=60,
            )
            lines = done.stderr.strip().splitlines()
            assert done.returncode != 0
            assert len(lines) == 1, lines
            assert environment["PORT"] in lines[0]


def test_a_local_token_verifies_elsewhere_by_the_document_over_http(bedrock: Emulator, tmp_path: Path) -> None:
    """Another server may trust our JWKS document just as Cognito's."""
    with LiveServer(tmp_path, bedrock.url) as server:
        keys = jwks.CachedKeys(lambda: jwks.fetch(f"{server.url}/.well-known/jwks.json", timeout=5), stale_seconds=1)
        trusted = tokens.TrustedIssuer("bedrock-chat:local", ("bedrock-chat",), keys)
        claims = tokens.TokenVerifier([trusted]).verify(server.manage("issue_token", "alice", "--group", "Admin"))
        assert (claims.username, claims.groups) == ("alice", ("Admin",))
        assert "d" not in server.call("GET", "/.well-known/jwks.json")[1]["keys"][0]


def a_bot_with_a_file_comes_and_goes(server: LiveServer, token: str) -> None:
    """As a zip of 3 MB: more than a body may have in memory, and more than an answer may without being counted."""
    content = bytes(range(256)) * 12_000
    file = travel.named("a.txt", content)
    entries = {"bot.json": json.dumps(document(files=[file])).encode(), f"files/{file['digest']}": content}

    def call(path: str, body: bytes | None = None) -> bytes:
        headers = {"Authorization": f"Bearer {token}", **({"Content-Type": travel.ZIP} if body else {})}
        request = urllib.request.Request(f"{server.url}{path}", body, headers)
        with urllib.request.urlopen(request, timeout=60) as response:
            answer: bytes = response.read()
            return answer

    with pytest.raises(urllib.error.HTTPError, match="400"):
        call("/bot/import", travel.zipped({**entries, f"files/{'0' * 64}": b""}, zipfile.ZIP_STORED))
    bot_id = json.loads(call("/bot/import", travel.zipped(entries, zipfile.ZIP_STORED)))["id"]
    body = call(f"/bot/{bot_id}/export?files=true")
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        assert archive.read(f"files/{file['digest']}") == content
    call("/bot/import", body)
    assert len(server.call("GET", "/bot", token=token)[1]) == 2


def test_a_large_file_comes_and_goes_by_an_address_that_no_log_holds(bedrock: Emulator, tmp_path: Path) -> None:
    bedrock.reset()
    notes = "0123456789abcdef" * 200_000
    file = {"contentType": "attachment", "fileName": "notes.txt", "body": base64.b64encode(notes.encode()).decode()}
    with LiveServer(tmp_path, bedrock.url, LOG_FORMAT="json", LOG_LEVEL="DEBUG") as server:
        token = server.manage("issue_token", "alice", "--group", "CreatingBotAllowed")
        question = payload(
            "c1", [{"contentType": "text", "body": "read"}, file], message_id="q1", model="claude-v4.6-sonnet"
        )
        assert server.call("POST", "/conversation", question, token=token)[0] == 200
        _, read = server.call("GET", "/conversation/c1?blobs=reference", token=token)
        address = read["messageMap"]["q1"]["content"][1]["url"]
        path = "/" + address.split("/", 3)[3]
        assert server.call("GET", path) == (200, notes)
        assert server.call("GET", path.replace("notes", "other"))[0] == 403
        _, link = server.call("GET", "/bot/b/presigned-url?filename=a.json&contentType=", token=token)
        upload = "/" + link["url"].split("/", 3)[3]
        assert server.call("PUT", upload, notes) == (200, None)
        assert server.call("PUT", upload, notes)[0] == 409
        a_bot_with_a_file_comes_and_goes(server, token)
        server.process.terminate()
        server.process.wait(timeout=30)
        logged = server.log.read_text()
    assert "/blobs/{sha256}" in logged
    assert '"/uploads"' in logged
    assert upload.rpartition("token=")[2] not in logged
    assert address.rpartition("signature=")[2] not in logged
