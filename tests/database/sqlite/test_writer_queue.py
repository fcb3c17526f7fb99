"""SQLite: one thread of a process writes at a time, first come, first served, and readers never wait."""

import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import OperationalError

from bedrock_chat.database.sqlite import base
from bedrock_chat.database.sqlite.base import DatabaseWrapper
from bedrock_chat.database.sqlite.writer_queue import WriterQueue
from tests.database.sqlite.conftest import PATIENCE_SECONDS, Connect
from tests.together import wait_for


def begin(wrapper: DatabaseWrapper) -> None:
    wrapper.set_autocommit(False, force_begin_transaction_with_broken_autocommit=True)


def end(wrapper: DatabaseWrapper, *, commit: bool = True) -> None:
    (wrapper.commit if commit else wrapper.rollback)()
    wrapper.set_autocommit(True)


def write(wrapper: DatabaseWrapper, text: str) -> None:
    with wrapper.cursor() as cursor:
        cursor.execute("INSERT INTO note (text) VALUES (%s)", [text])


def texts(wrapper: DatabaseWrapper) -> list[str]:
    with wrapper.cursor() as cursor:
        cursor.execute("SELECT text FROM note ORDER BY id")
        return [text for (text,) in cursor.fetchall()]


def waiting(wrapper: DatabaseWrapper) -> int:
    return len(wrapper.writers.queue._waiters)


def test_writers_are_served_in_the_order_in_which_they_came(connect: Connect) -> None:
    alice, others = connect(), [connect() for _ in range(8)]
    begin(alice)
    with ThreadPoolExecutor(8) as pool:
        for number, other in enumerate(others):
            pool.submit(write, other, f"{number}")
            wait_for(lambda number=number: waiting(alice) == number + 1)  # type: ignore[misc]
        write(alice, "alice")
        end(alice)
    assert texts(alice) == ["alice", *map(str, range(8))]


@pytest.mark.parametrize("commit", [True, False], ids=["commit", "rollback"])
def test_the_next_one_writes_once_a_transaction_has_ended_in_any_way(connect: Connect, commit: bool) -> None:
    alice, bob = connect(), connect()
    begin(alice)
    write(alice, "alice")
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write, bob, "bob")
        wait_for(lambda: waiting(alice) == 1)
        end(alice, commit=commit)
        writing.result(5)
    assert texts(bob) == (["alice", "bob"] if commit else ["bob"])


def test_a_connection_that_is_closed_in_its_transaction_lets_the_next_one_write(connect: Connect) -> None:
    alice, bob = connect(), connect()
    begin(alice)
    write(alice, "alice")
    alice.close()
    write(bob, "bob")
    assert texts(bob) == ["bob"]


def test_who_reads_does_not_wait_for_who_writes(connect: Connect) -> None:
    alice, bob = connect(), connect()
    write(alice, "before")
    begin(alice)
    write(alice, "after")
    assert texts(bob) == ["before"]
    end(alice)
    assert texts(bob) == ["before", "after"]


def test_a_write_without_a_transaction_is_over_when_the_next_one_begins_although_it_returns_rows(
    connect: Connect,
) -> None:
    alice, bob = connect(), connect()
    with alice.cursor() as cursor:
        cursor.execute("INSERT INTO note (text) VALUES ('a'), ('b'), ('c') RETURNING id, text")
        started = time.monotonic()
        write(bob, "d")  # while alice has not fetched her rows
        assert time.monotonic() - started < PATIENCE_SECONDS
        assert cursor.fetchone() == (1, "a")
        assert cursor.fetchmany(1) == [(2, "b")]
        assert list(cursor) == [(3, "c")]
        assert cursor.fetchone() is None
    assert texts(alice) == ["a", "b", "c", "d"]


def test_who_waits_too_long_is_refused_and_the_log_says_what_the_writer_does(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    alice, bob = connect(), connect()
    begun, released = threading.Event(), threading.Event()

    def stall() -> None:
        begin(alice)
        begun.set()
        released.wait(20)
        end(alice)

    thread = threading.Thread(target=stall, name="staller")
    thread.start()
    begun.wait(5)
    with pytest.raises(OperationalError, match="database is locked"):
        write(bob, "bob")
    released.set()
    thread.join()
    (record,) = caplog.records
    assert "Thread staller has held up all writers" in record.getMessage()
    assert "released.wait(20)" in record.getMessage()
    write(bob, "bob")
    assert texts(bob) == ["bob"]


@pytest.mark.usefixtures("service")
def test_what_a_dead_thread_has_left_open_is_rolled_back_and_told(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    alice, bob = connect(), connect()

    def die() -> None:
        begin(alice)
        write(alice, "alice")

    thread = threading.Thread(target=die, name="mortal")
    thread.start()
    thread.join()
    begin(bob)
    write(bob, "bob")
    end(bob)
    assert texts(bob) == ["bob"]
    assert "Thread mortal ended in the middle of a transaction" in caplog.text


def test_other_processes_still_meet_at_the_lock_of_the_file(connect: Connect, database: Path) -> None:
    alice = connect()
    begin(alice)
    with sqlite3.connect(database, timeout=0.1, isolation_level=None) as other:
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        end(alice)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OperationalError, match="locked"):
            write(alice, "alice")
        other.execute("COMMIT")
    write(alice, "alice")
    assert texts(alice) == ["alice"]


def test_who_gives_up_does_not_stand_in_the_way_of_those_behind() -> None:
    queue = WriterQueue(0.2)
    queue.acquire()

    def wait_in_vain() -> None:
        with pytest.raises(OperationalError):
            queue.acquire()

    impatient = threading.Thread(target=wait_in_vain)
    impatient.start()
    impatient.join()
    queue.release()
    with queue.turn():
        assert queue.is_mine()
    assert not queue.is_mine()


@pytest.fixture
def _interruptible() -> Iterator[None]:
    """Has SIGUSR1 raise KeyboardInterrupt in the main thread, as SIGINT does where nobody ignores it."""
    before = signal.signal(signal.SIGUSR1, signal.default_int_handler)
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.usefixtures("_interruptible")
def test_one_who_is_interrupted_while_waiting_does_not_stand_in_the_way_of_those_behind() -> None:
    queue, main = WriterQueue(5.0), threading.main_thread()
    begun, released = threading.Event(), threading.Event()

    def write_meanwhile() -> None:
        with queue.turn():
            begun.set()
            wait_for(lambda: any(waiter.thread is main for waiter in queue._waiters))
            assert main.ident is not None
            signal.pthread_kill(main.ident, signal.SIGUSR1)
            released.wait(5)

    writer = threading.Thread(target=write_meanwhile)
    writer.start()
    begun.wait(5)
    with pytest.raises(KeyboardInterrupt):
        queue.acquire()
    released.set()
    writer.join()
    with queue.turn():
        assert queue.is_mine()
    assert not queue.is_mine()


@pytest.mark.parametrize("is_service", [False, True], ids=["command", "service"])
def test_after_sqlite_has_rolled_back_by_itself_the_rest_of_the_transaction_is_refused_at_once(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, is_service: bool
) -> None:
    monkeypatch.setattr(base, "_is_service", is_service)
    alice, bob = connect(), connect()
    begin(alice)
    write(alice, "first")
    alice.connection.execute("ROLLBACK")  # as SQLite does for a full disk
    started = time.monotonic()
    with pytest.raises(OperationalError, match="rolled this transaction back"):
        write(alice, "rest")
    assert time.monotonic() - started < PATIENCE_SECONDS
    with pytest.raises(OperationalError, match="rolled this transaction back"):
        alice.commit()
    end(alice, commit=False)
    write(bob, "bob")
    assert texts(bob) == ["bob"]


@pytest.mark.parametrize("is_service", [False, True], ids=["command", "service"])
def test_an_interrupted_commit_lets_the_next_one_write(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, is_service: bool
) -> None:
    monkeypatch.setattr(base, "_is_service", is_service)
    alice, bob = connect(), connect()
    begin(alice)

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(BaseDatabaseWrapper, "_commit", interrupt)
        with pytest.raises(KeyboardInterrupt):
            alice.commit()
    alice.set_autocommit(True)  # all that Django does: it rolls back after errors of the database alone
    write(bob, "bob")
    assert texts(bob) == ["bob"]
