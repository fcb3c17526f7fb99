"""The heartbeat: one thread that runs until it is told to stop."""

import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.signals import got_request_exception
from django.db import OperationalError, connection, connections

from bedrock_chat.process.heartbeat import Heartbeat
from tests.serving.conftest import eventually

pytestmark = pytest.mark.django_db


@pytest.fixture
def heartbeat() -> Iterator[Heartbeat]:
    heart = Heartbeat()
    yield heart
    heart.stop()


def test_it_beats_again_and_again_on_one_thread(heartbeat: Heartbeat) -> None:
    beats: list[str] = []
    heartbeat.start()
    heartbeat.start()
    heartbeat.register("test", 0.01, lambda: beats.append(threading.current_thread().name))
    assert eventually(lambda: len(beats) >= 3)
    assert set(beats) == {"heartbeat"}
    heartbeat.unregister("test")
    count = len(beats) + 1  # one may be under way
    assert not eventually(lambda: len(beats) > count, 0.1)


def test_a_beat_registered_again_and_again_is_not_put_off(heartbeat: Heartbeat) -> None:
    beats: list[int] = []
    heartbeat.start()

    def register() -> bool:
        heartbeat.register("test", 0.1, lambda: beats.append(1))
        return len(beats) >= 2

    assert eventually(register, 2)


def test_it_ends_when_told_and_can_be_started_again(heartbeat: Heartbeat) -> None:
    beats: list[int] = []
    heartbeat.register("test", 0.01, lambda: beats.append(1))
    heartbeat.start()
    assert eventually(lambda: beats)
    heartbeat.stop()
    count = len(beats)
    assert not eventually(lambda: len(beats) > count, 0.1)
    heartbeat.start()
    assert eventually(lambda: len(beats) > count)


def test_a_beat_that_fails_is_logged_and_comes_again_and_others_go_on(
    heartbeat: Heartbeat, caplog: pytest.LogCaptureFixture
) -> None:
    failures: list[int] = []
    others: list[int] = []

    def fail() -> None:
        failures.append(1)
        raise RuntimeError("not today")

    heartbeat.register("failing", 0.01, fail)
    heartbeat.register("other", 0.01, lambda: others.append(1))
    with caplog.at_level(logging.ERROR, "bedrock_chat.process.heartbeat"):
        heartbeat.start()
        assert eventually(lambda: len(failures) >= 2 and len(others) >= 2)
    assert "failing" in caplog.text


@pytest.mark.both
@pytest.mark.django_db(transaction=True)
def test_it_keeps_a_sqlite_connection_open_and_no_pooled_one(heartbeat: Heartbeat) -> None:
    seen: list[Any] = []

    def look() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        seen.append((connections["default"], connection.connection))

    heartbeat.register("look", 0.01, look)
    heartbeat.start()
    assert eventually(lambda: len(seen) >= 3)
    heartbeat.unregister("look")
    wrapper, opened = seen[0]
    if connection.vendor == "sqlite":
        assert all(later is opened for _, later in seen)
        assert wrapper.connection is opened
    else:
        assert eventually(lambda: wrapper.connection is None)
    heartbeat.stop()
    assert wrapper.connection is None


@pytest.mark.both
@pytest.mark.django_db(transaction=True)
def test_after_a_lost_connection_the_broken_ones_leave_the_pool(heartbeat: Heartbeat) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no connections to lose")
    connection.ensure_connection()
    victims = [connection.pool.getconn() for _ in range(3)]
    process_ids = [victim.info.backend_pid for victim in victims]
    for victim in victims:
        connection.pool.putconn(victim)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) AS pid", [process_ids])
    heartbeat.start()
    try:
        raise OperationalError("server closed the connection unexpectedly")
    except OperationalError:
        got_request_exception.send(sender=None, request=None)

    def all_sound() -> bool:
        connections_now = [connection.pool.getconn() for _ in range(connection.pool.get_stats()["pool_available"])]
        living = {pooled.info.backend_pid for pooled in connections_now}
        for pooled in connections_now:
            connection.pool.putconn(pooled)
        return not living & set(process_ids)

    assert eventually(all_sound)
