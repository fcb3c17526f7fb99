"""Servers as processes, on the kind of database that this run of the tests is for."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from django.conf import settings

from tests.emulator import Emulator
from tests.live import LiveServer

Serve = Callable[..., LiveServer]

QUICK = {"TURN_LEASE_SECONDS": "2", "CHECKPOINT_SECONDS": "0.2", "MODEL_RETRY_SECONDS": "3"}


@pytest.fixture(scope="module")
def bedrock() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="module")
def database_url(data: Path) -> Iterator[str]:
    """A database of the module's own, which several servers may share."""
    database = settings.DATABASES["default"]
    if "sqlite" in database["ENGINE"]:
        yield f"sqlite:///{data / 'live.sqlite3'}"
        return
    name = f"live_{uuid.uuid4().hex[:12]}"
    options = {"host": database["HOST"] or database.get("OPTIONS", {}).get("host"), "port": database["PORT"] or None}
    where = {"user": database["USER"], "password": database["PASSWORD"], **options}
    with psycopg.connect(dbname="postgres", autocommit=True, **where) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            login = f"{where['user']}:{where['password']}@" if where["password"] else f"{where['user']}@"
            if str(options["host"]).startswith("/"):
                yield f"postgres://{login}/{name}?host={options['host']}"
            else:
                yield f"postgres://{login}{options['host']}:{options['port'] or 5432}/{name}"
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def serve(data: Path, database_url: str, bedrock: Emulator) -> Iterator[Serve]:
    """Starts a server, `serve(TURNS="2")`; all of a module share one database. They end with the module."""
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
