"""A key of a tool, seeded into a whole server, is in no frame, log or file of it, whoever sends it back."""

import json
from pathlib import Path

import jwt
import pytest

from tests.bots.bot import firecrawl, payload
from tests.bots.tools import engines
from tests.emulator import Emulator
from tests.listening import ask, ask_socket
from tests.live import LiveServer

pytestmark = pytest.mark.slow

KEY = "fc-seeded-0123456789"
QUERIES = ("((echo))", "((401))", "((500))", "((broken))", "((endless))", "((redirect))", "tides")


def test_a_seeded_key_is_in_no_frame_log_or_file(tmp_path: Path) -> None:
    with Emulator() as bedrock, engines.running() as served:
        environment = {
            "FIRECRAWL_URL": served.url,
            "OUTBOUND_ALLOW": served.url.removeprefix("http://"),
            "OUTBOUND_HTTP_CREDENTIALS": "true",
            "LOG_LEVEL": "DEBUG",
        }
        with LiveServer(tmp_path, bedrock.url, **environment) as server:
            token = server.manage("issue_token", "alice", "--group", "CreatingBotAllowed")
            assert server.call("POST", "/bot", payload("b", agent=firecrawl(KEY)), token=token)[0] == 200
            heard = ""
            for number, query in enumerate(QUERIES):
                text = f"[[tool:internet_search:{json.dumps({'query': query})}]]"
                heard += repr(ask(server, token, f"sse-{number}", text, bot_id="b"))
                heard += repr(ask_socket(server, token, f"ws-{number}", text, bot_id="b"))
                heard += repr(server.call("GET", f"/conversation/ws-{number}", token=token))
            server.manage(
                "export_user",
                jwt.decode(token, options={"verify_signature": False})["sub"],
                "--to",
                str(tmp_path / "export"),
            )
        assert len(served.requests) >= len(QUERIES)
        assert all(request.headers["authorization"] == f"Bearer {KEY}" for request in served.requests)
        assert "[redacted]" in heard
        assert KEY not in heard + json.dumps(bedrock.requests())
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert server.log in files
        assert [path.name for path in files if KEY.encode() in path.read_bytes()] == []
