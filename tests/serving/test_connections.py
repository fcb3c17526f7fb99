"""Database connections: when threads release them."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.utils import timezone

from bedrock_chat.database.connections import TransactionOpen, database_now, release_connection
from bedrock_chat.process.thread_pool import ThreadPool
from tests.serving.conftest import Live, eventually, read_to_end, read_until
from tests.serving.urls import stage


def ask_the_database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def pool_available() -> int:
    available: int = connection.pool.get_stats()["pool_available"]
    return available


@pytest.mark.both
@pytest.mark.django_db(transaction=True)
def test_a_connection_is_not_released_inside_a_transaction() -> None:
    with transaction.atomic():
        ask_the_database()
        with pytest.raises(TransactionOpen):
            release_connection()
        ask_the_database()
    release_connection()
    ask_the_database()


@pytest.mark.both
@pytest.mark.django_db(transaction=True)
def test_a_released_connection_goes_back_to_the_pool_or_stays_with_its_thread_on_sqlite() -> None:
    ask_the_database()
    opened = connection.connection
    if connection.vendor == "sqlite":
        release_connection()
        assert connection.connection is opened
        release_connection(final=True)
    else:
        free = pool_available()
        release_connection()
        assert pool_available() == free + 1
    assert connection.connection is None
    ask_the_database()


@pytest.mark.both
@pytest.mark.django_db(transaction=True)
def test_a_thread_that_ends_lets_go_of_its_connection() -> None:
    wrappers: list[Any] = []
    threads = ThreadPool(3)
    together = threading.Barrier(4)

    def work() -> None:
        ask_the_database()
        wrappers.append(connections["default"])
        together.wait(5)

    for _ in range(3):
        threads.submit(work)
    together.wait(5)
    assert [wrapper.connection is None for wrapper in wrappers] == [False] * 3
    threads.stop()
    assert eventually(lambda: all(wrapper.connection is None for wrapper in wrappers))
    assert threads.count == 0


@pytest.mark.both
@pytest.mark.django_db(transaction=True)
def test_a_stream_holds_no_pooled_connection_while_it_waits(server: Live) -> None:
    clients = [server.connect() for _ in range(25)]  # more than the pool is large
    for client in clients:
        client.sendall(b"GET /events?query=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    for client in clients:
        read_until(client, b"first")
    if connection.vendor == "postgresql":
        release_connection()
        assert eventually(lambda: pool_available() == connection.pool.get_stats()["pool_size"])
    ask_the_database()
    stage.gate.set()
    for client in clients:
        assert b"second" in read_to_end(client)
        client.close()


@pytest.mark.both
@pytest.mark.django_db(transaction=True)
def test_the_shared_clock_goes_on_inside_a_transaction() -> None:
    assert abs(database_now() - timezone.now()) < timedelta(minutes=1)
    with transaction.atomic():
        first = database_now()
        assert first.tzinfo is not None
        assert database_now() > first
