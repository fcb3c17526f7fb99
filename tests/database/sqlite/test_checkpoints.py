"""SQLite's write-ahead log is moved into the database by a thread of its own, and stays short whoever reads."""

import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from bedrock_chat.database.sqlite import checkpoints, readers
from bedrock_chat.database.sqlite.base import DatabaseWrapper
from bedrock_chat.database.sqlite.checkpoints import Checkpointer
from tests.database.sqlite.conftest import Connect
from tests.database.sqlite.test_writer_queue import texts, write
from tests.together import wait_for

MB = 1024 * 1024


@pytest.fixture
def writer(connect: Connect, service: None) -> DatabaseWrapper:
    wrapper = connect()
    wrapper.ensure_connection()
    return wrapper


@pytest.fixture
def checkpointer(database: Path, writer: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch) -> Checkpointer:
    """Does nothing by itself. All sizes are a 16th, and nothing has to be waited for."""
    for name in ("CHECKPOINT_BYTES", "RESTART_BYTES"):
        monkeypatch.setattr(checkpoints, name, getattr(checkpoints, name) // 16)
    for name in ("SECONDS_BETWEEN", "PAUSE_SECONDS"):
        monkeypatch.setattr(checkpoints, name, 0.0)
    monkeypatch.setattr(checkpoints, "RESTART_SECONDS", 0.2)
    return Checkpointer(database, writer.writers.queue)


def log_size(database: Path) -> int:
    return database.with_name(f"{database.name}-wal").stat().st_size


def grow(writer: DatabaseWrapper, megabytes: float) -> None:
    for _ in range(round(megabytes * 16)):
        write(writer, "x" * 60_000)


@contextmanager
def reading(database: Path) -> Iterator[None]:
    """Somebody reads the first row and has not come to the end."""
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("INSERT INTO note (text) VALUES ('first'), ('second')")
        cursor = other.execute("SELECT text FROM note")
        cursor.fetchone()
        yield


def test_no_commit_of_a_service_does_a_checkpoint(writer: DatabaseWrapper, database: Path) -> None:
    grow(writer, 6)  # by default every 4 MB
    assert log_size(database) > 6 * MB


def test_what_is_written_is_moved_and_the_log_is_begun_anew(
    writer: DatabaseWrapper, checkpointer: Checkpointer, database: Path
) -> None:
    for _ in range(12):
        grow(writer, 0.5)
        checkpointer.look()
    assert log_size(database) < 1 * MB
    assert len(texts(writer)) == 12 * 8


def test_nothing_is_done_while_nothing_is_written(
    writer: DatabaseWrapper, checkpointer: Checkpointer, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(writer, "x")
    checkpointer.look()
    modes: list[str] = []
    monkeypatch.setattr(checkpointer, "_checkpoint", lambda mode: modes.append(mode) or (0, 0))
    checkpointer.look()
    assert modes == []
    write(writer, "y")
    checkpointer.look()
    assert modes == ["PASSIVE"]


def test_what_another_process_moves_just_now_is_looked_at_again(
    writer: DatabaseWrapper, checkpointer: Checkpointer, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = [(3, 3), (-1, -1)]
    monkeypatch.setattr(checkpointer, "_checkpoint", lambda _: outcomes.pop())
    monkeypatch.setattr(checkpointer, "_page_size", lambda: 4096)
    write(writer, "x")
    checkpointer.look()
    checkpointer.look()
    assert outcomes == []
    checkpointer.look()  # nothing is left to be done


def test_under_constant_short_readers_the_log_stays_short(
    writer: DatabaseWrapper, checkpointer: Checkpointer, database: Path
) -> None:
    over = threading.Event()

    def read() -> None:
        with closing(sqlite3.connect(database, isolation_level=None)) as other:
            while not over.is_set():
                cursor = other.execute("SELECT text FROM note ORDER BY id DESC LIMIT 50")
                cursor.fetchone()
                time.sleep(0.01)
                cursor.close()

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    sizes = []
    try:
        for _ in range(12):
            grow(writer, 0.5)
            checkpointer.look()
            sizes.append(log_size(database))
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert max(sizes) <= checkpoints.RESTART_BYTES * 2


def test_one_who_reads_for_long_is_named_and_keeps_nobody_from_writing(
    writer: DatabaseWrapper,
    checkpointer: Checkpointer,
    database: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(checkpoints, "LONG_READ_SECONDS", 0.5)
    script = (
        "import sqlite3, sys, time; database = sqlite3.connect(sys.argv[1]);"
        "cursor = database.execute('SELECT text FROM note'); cursor.fetchone(); print('reads', flush=True);"
        "time.sleep(60)"
    )
    grow(writer, 1)
    with subprocess.Popen([sys.executable, "-c", script, str(database)], stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout is not None
            other.stdout.readline()
            grow(writer, 3)
            checkpointer.look()
            assert not caplog.records
            time.sleep(0.5)
            write(writer, "x")
            checkpointer.look()
        finally:
            other.kill()
    assert f"somebody reads for long: process {other.pid} (" in caplog.text
    write(writer, "y")
    checkpointer.look()
    write(writer, "z")
    assert texts(writer)[-1] == "z"


def test_a_thread_of_this_process_that_reads_for_long_is_named(writer: DatabaseWrapper, database: Path) -> None:
    for number in range(5):
        write(writer, f"{number}")
    with writer.cursor() as cursor:
        cursor.execute("SELECT text FROM note")
        assert len(cursor.fetchmany(2)) == 2
        (name,) = readers.names_of_readers(database)
        assert name.startswith(f"thread {threading.current_thread().name} of this process, since ")
        assert len(cursor.fetchmany(4)) == 3
        assert readers.names_of_readers(database) == []


def test_the_thread_goes_on_after_an_error(
    writer: DatabaseWrapper, database: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, seconds in (("LOOK_SECONDS", 0.01), ("SECONDS_BETWEEN", 0.01), ("PAUSE_SECONDS", 0.01)):
        monkeypatch.setattr(checkpoints, name, seconds)
    checkpointer = Checkpointer(database, writer.writers.queue)
    checkpoint = checkpointer._checkpoint
    outcomes = [OSError("the disk is away")]

    def fail_once(mode: str) -> tuple[int, int]:
        if outcomes:
            raise outcomes.pop()
        pages = checkpoint(mode)
        done.set()
        return pages

    done = threading.Event()
    monkeypatch.setattr(checkpointer, "_checkpoint", fail_once)
    checkpointer.start()
    try:
        write(writer, "x")
        wait_for(done.is_set)
    finally:
        checkpointer.stop()
    assert "it is tried again" in caplog.text


def test_while_the_disk_is_full_the_log_is_not_filled_with_tracebacks(
    writer: DatabaseWrapper, database: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(checkpoints, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(checkpoints, "CHECKPOINT_BYTES", 0)  # it is due at each look
    checkpointer = Checkpointer(database, writer.writers.queue)

    def fail(mode: str) -> tuple[int, int]:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(checkpointer, "_checkpoint", fail)
    write(writer, "x")
    checkpointer.start()
    try:
        wait_for(lambda: len(caplog.records) > 0)
        time.sleep(0.2)
    finally:
        checkpointer.stop()
    assert len(caplog.records) == 1


def test_writers_are_kept_out_ever_more_seldom_by_one_who_reads_for_long(
    writer: DatabaseWrapper, checkpointer: Checkpointer, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "PAUSE_SECONDS", 5.0)
    monkeypatch.setattr(checkpoints, "RESTART_SECONDS", 0.01)
    checkpointer = Checkpointer(database, writer.writers.queue)
    attempts: list[int] = []
    clock = Clock()
    monkeypatch.setattr(checkpoints, "time", clock)
    restart = checkpointer._restart

    def attempt(now: float) -> None:
        attempts.append(round(now))
        restart(now)

    monkeypatch.setattr(checkpointer, "_restart", attempt)
    with reading(database):
        grow(writer, 3)
        for second in range(100, 250):
            clock.now = second
            checkpointer.look()
    assert attempts == [100, 105, 115, 135, 175, 235]
    clock.now = 300
    checkpointer.look()
    assert attempts[6:] == [300]
    with reading(database):
        grow(writer, 3)
        for second in range(301, 320):
            clock.now = second
            checkpointer.look()
    assert attempts[7:] == [301, 306, 316]  # the log was begun anew meanwhile, and the pauses with it


class Clock:
    """Stands for the module `time`."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now
