"""After an erasure SQLite's write-ahead log is emptied, and keeps nobody from writing meanwhile."""

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from django.db import connection

from bedrock_chat.database import connections
from bedrock_chat.database.connections import truncate_log
from bedrock_chat.identity.models import User
from tests.together import wait_for

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def database() -> Path:
    if connection.vendor != "sqlite":
        pytest.skip("SQLite alone has such a log")
    User.objects.create(pk="alice", username="alice")
    return Path(connection.settings_dict["NAME"])


def log_size(database: Path) -> int:
    return database.with_name(f"{database.name}-wal").stat().st_size


def test_the_log_is_empty_afterwards(database: Path) -> None:
    assert log_size(database) > 0
    truncate_log()
    assert log_size(database) == 0


def test_while_somebody_reads_others_may_write_and_the_log_is_emptied_when_they_end(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "TRUNCATE_SECONDS", 0.2)
    monkeypatch.setattr(connections, "TRUNCATE_ATTEMPTS", 50)
    with (
        closing(sqlite3.connect(database, isolation_level=None, check_same_thread=False)) as reader,
        closing(sqlite3.connect(database, isolation_level=None, timeout=5)) as writer,
    ):
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM bedrock_chat_user").fetchone()
        truncating = threading.Thread(target=run_truncate_log)
        truncating.start()
        wait_for(lambda: is_write_locked(database))
        writer.execute("UPDATE bedrock_chat_user SET username = 'bob'")
        reader.execute("COMMIT")
        truncating.join()
    assert log_size(database) == 0


def test_if_somebody_reads_all_the_time_the_application_log_says_so(
    database: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connections, "TRUNCATE_SECONDS", 0.01)
    with closing(sqlite3.connect(database, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM bedrock_chat_user").fetchone()
        truncate_log()
    assert "may hold deleted data" in caplog.text
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout")
        assert cursor.fetchone() == (20_000,)


def run_truncate_log() -> None:
    try:
        truncate_log()
    finally:
        connection.close()


def is_write_locked(database: Path) -> bool:
    with closing(sqlite3.connect(database, isolation_level=None, timeout=0)) as other:
        try:
            other.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        other.execute("ROLLBACK")
        return False
