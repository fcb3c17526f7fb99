"""A server of one process whose costs are measured from outside."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bots import bot as bots
from tests.emulator import Emulator
from tests.encryption.vault import new_key
from tests.hostile import bodies
from tests.hostile.costs import Meter
from tests.live import LiveServer
from tests.publication.api import UNLIMITED


@pytest.fixture(scope="session")
def proc() -> None:
    """Skips where costs cannot be measured, and on PostgreSQL: what is refused reaches no database."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("/proc is Linux's")
    if os.environ.get("DATABASE_URL"):
        pytest.skip("measured on SQLite")


@pytest.fixture(scope="module")
def lock_meter(proc: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("meter") / "lock"
    path.write_bytes(bytes(8))
    return path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, lock_meter: Path) -> Iterator[LiveServer]:
    with (
        Emulator() as bedrock,
        LiveServer(
            tmp_path_factory.mktemp("hostile"),
            bedrock.url,
            DJANGO_SETTINGS_MODULE="tests.hostile.metered",
            LOCK_METER=str(lock_meter),
            ENCRYPTION_KEYS=new_key(),
        ) as live,
    ):
        yield live


@pytest.fixture(scope="module")
def alice(server: LiveServer) -> str:
    """Alice's token. She has the conversation c1, and what a first turn loads is loaded."""
    token = server.manage("issue_token", "alice")
    question = bodies.turn([bodies.text("hello")], conversationId="c1", botId=None)
    question["message"]["messageId"] = "q1"
    assert server.call("POST", "/conversation", question, token=token)[0] == 200
    return token


@pytest.fixture
def meter(server: LiveServer, lock_meter: Path) -> Meter:
    return Meter(server, lock_meter)


@pytest.fixture(scope="module")
def dave(server: LiveServer) -> str:
    """The token of Dave, who may make bots and publish them. He has none yet."""
    return server.manage("issue_token", "dave", "--group", "CreatingBotAllowed", "--group", "PublishAllowed")


@pytest.fixture(scope="module")
def key(server: LiveServer, dave: str) -> str:
    """A key of Dave's bot b1, which is published without limits."""
    publication = "/bot/b1/publication"
    for method, path, body in (
        ("POST", "/bot", bots.payload("b1")),
        ("PATCH", "/bot/b1/visibility", {"targetSharedScope": "all"}),
        ("POST", publication, UNLIMITED),
    ):
        assert server.call(method, path, body, token=dave)[0] == 200
    [key_id] = server.call("GET", publication, token=dave)[1]["apiKeyIds"]
    return str(server.call("GET", f"{publication}/api-key/{key_id}", token=dave)[1]["value"])
