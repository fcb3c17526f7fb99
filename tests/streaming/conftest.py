"""Servers as processes, on the kind of database that this test run uses."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.emulator import Emulator
from tests.live import LiveServer

Serve = Callable[..., LiveServer]

QUICK = {"TURN_LEASE_SECONDS": "2", "CHECKPOINT_SECONDS": "0.2", "MODEL_RETRY_SECONDS": "3"}


@pytest.fixture(scope="module")
def bedrock() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


@pytest.fixture(scope="module")
def serve(data: Path, database_url: str, bedrock: Emulator) -> Iterator[Serve]:
    """Starts a server: `serve(TURNS="2")`. The servers of a test module share one database and end with the module."""
    with ExitStack() as stack:
        count = 0

        def start(**environment: str) -> LiveServer:
            nonlocal count
            count += 1
            folder = data / str(count)
            folder.mkdir()
            variables = {**QUICK, "DATABASE_URL": database_url, **environment}
            return stack.enter_context(LiveServer(folder, bedrock.url, **variables))

        yield start


@pytest.fixture(scope="module")
def server(serve: Serve) -> LiveServer:
    return serve()


@pytest.fixture(scope="module")
def alice(server: LiveServer) -> str:
    """Alice's token."""
    return server.manage("issue_token", "alice")


@pytest.fixture(scope="module")
def bob(server: LiveServer) -> str:
    return server.manage("issue_token", "bob")


@pytest.fixture(autouse=True)
def fresh(bedrock: Emulator) -> None:
    bedrock.reset()
