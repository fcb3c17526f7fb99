"""In a server or a worker all transactions run on one connection, which belongs to one thread at a time."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db.utils import ProgrammingError

from bedrock_chat.database.sqlite.base import THREADS_CACHE_KB, DatabaseWrapper
from tests.database.sqlite.conftest import Connect
from tests.database.sqlite.test_writer_queue import begin, end, texts, write

pytestmark = pytest.mark.usefixtures("service")


def test_transactions_of_many_threads_run_on_one_connection_and_each_reads_what_it_wrote(connect: Connect) -> None:
    wrappers = [connect() for _ in range(8)]
    shared = set()

    def work(number: int) -> None:
        wrapper = wrappers[number]
        for step in range(20):
            begin(wrapper)
            write(wrapper, f"{number}-{step}")
            shared.add(id(wrapper.connection))
            assert texts(wrapper)[-1] == f"{number}-{step}"
            end(wrapper)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert len(shared) == 1
    assert len(set(texts(wrappers[0]))) == 160


def test_outside_of_transactions_each_thread_has_its_own(connect: Connect) -> None:
    alice, bob = connect(), connect()
    begin(alice)
    write(alice, "alice")
    assert texts(bob) == []
    end(alice)
    assert alice.connection is not bob.connection
    assert alice.connection is not alice.writers.connection


def test_a_threads_own_connection_keeps_little_of_the_file_in_memory(connect: Connect) -> None:
    def kilobytes(wrapper: DatabaseWrapper) -> int:
        return -int(wrapper.connection.execute("PRAGMA cache_size").fetchone()[0])

    alice = connect()
    begin(alice)
    shared = kilobytes(alice)
    end(alice)
    assert kilobytes(alice) == THREADS_CACHE_KB < shared


def test_a_cursor_does_not_outlive_its_transaction(connect: Connect) -> None:
    alice, bob = connect(), connect()
    begin(alice)
    for number in range(3):
        write(alice, f"{number}")
    reading = alice.create_cursor()
    reading.execute("SELECT text FROM note")
    assert reading.fetchone() == ("0",)
    end(alice)
    begin(bob)  # an open cursor would hold its old view of the database, in which nobody may write
    write(bob, "bob")
    end(bob)
    assert texts(alice) == ["0", "1", "2", "bob"]


def test_a_transaction_that_cannot_be_ended_takes_its_connection_with_it(connect: Connect) -> None:
    alice, bob = connect(), connect()
    begin(alice)
    write(alice, "alice")
    broken = alice.writers.connection
    alice.close()
    begin(bob)
    assert bob.writers.connection is not broken
    write(bob, "bob")
    end(bob)
    assert texts(bob) == ["bob"]


def test_a_process_that_is_no_service_keeps_to_the_connections_of_its_threads(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    alice = connect()
    alice.ensure_connection()
    own = alice.connection
    begin(alice)
    assert alice.connection is own
    end(alice)


def test_a_connection_on_which_no_transaction_begins_any_more_is_replaced(connect: Connect) -> None:
    alice = connect()
    begin(alice)
    end(alice)
    broken = alice.writers.connection
    assert broken is not None
    broken.close()
    with pytest.raises(ProgrammingError):
        begin(alice)
    begin(alice)
    write(alice, "alice")
    end(alice)
    assert texts(alice) == ["alice"]
