"""A SQLite file of the test's own, and connections to it as Django makes them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from bedrock_chat.database.sqlite import base
from bedrock_chat.database.sqlite.base import DatabaseWrapper, writers_of

PATIENCE_SECONDS = 1.0

Connect = Callable[[], DatabaseWrapper]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "test.sqlite3"


@pytest.fixture
def connect(database: Path, django_db_blocker: Any) -> Iterator[Connect]:
    """Makes connections that tests may use on any thread. There is a table `note` of texts."""
    settings: dict[str, Any] = {
        **connections.settings["default"],
        "ENGINE": "bedrock_chat.database.sqlite",
        "NAME": str(database),
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": PATIENCE_SECONDS,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }
    made: list[DatabaseWrapper] = []

    def connect() -> DatabaseWrapper:
        wrapper = DatabaseWrapper({**settings, "OPTIONS": dict(settings["OPTIONS"])})
        wrapper.inc_thread_sharing()
        made.append(wrapper)
        return wrapper

    with django_db_blocker.unblock():  # the file is none that pytest-django knows
        with connect().cursor() as cursor:
            cursor.execute("CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT)")
        yield connect
        for wrapper in made:
            wrapper.close()
    writers_of(str(database), PATIENCE_SECONDS).discard()


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes this process a server or a worker: its transactions run on one connection."""
    monkeypatch.setattr(base, "_is_service", True)
