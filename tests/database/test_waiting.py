"""PostgreSQL: no statement of a server or a worker waits for ever, and an outage is told from a slow statement."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from django.db import OperationalError, connection, transaction

from bedrock_chat.database import waiting
from bedrock_chat.database.connections import release_connection
from bedrock_chat.identity.models import User
from bedrock_chat.process import heartbeat
from bedrock_chat.resilience.dependencies import State, reason
from bedrock_chat.wire.errors import as_api_error
from tests.serving.conftest import eventually

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True)]

SECONDS = 0.3


@pytest.fixture(autouse=True)
def bounded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if connection.vendor != "postgresql":
        pytest.skip("a file has no time-out")
    monkeypatch.setattr(waiting, "_seconds", SECONDS)
    monkeypatch.setattr(waiting, "_answered_at", time.monotonic())
    yield
    release_connection()
    assert eventually(lambda: not waiting.database.is_away)


def sleep(seconds: float) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(%s)", [seconds])


def seconds_until_refused(ask: Callable[[], object]) -> float:
    started = time.monotonic()
    with pytest.raises(OperationalError):
        ask()
    return time.monotonic() - started


def statements(containing: str) -> list[Any]:
    """What the server runs just now."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT query FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' "
            "AND pid <> pg_backend_pid() AND query LIKE %s",
            [f"%{containing}%"],
        )
        return cursor.fetchall()


def test_a_statement_is_ended_and_told_as_a_503() -> None:
    started = time.monotonic()
    with pytest.raises(OperationalError) as refused:
        sleep(30)
    assert SECONDS * 0.9 < time.monotonic() - started < 5
    error = as_api_error(refused.value)
    assert (error.status_code, error.headers["Retry-After"]) == (503, "1")
    release_connection()
    sleep(0)  # on another connection


def test_the_server_is_told_that_nobody_waits_any_more() -> None:
    seconds_until_refused(lambda: sleep(30))
    release_connection()
    assert eventually(lambda: not statements("pg_sleep"))


def test_a_statement_of_a_transaction_takes_all_of_it_back() -> None:
    def write_and_wait() -> None:
        with transaction.atomic():
            User.objects.create(pk="alice", username="alice")
            sleep(30)

    seconds_until_refused(write_and_wait)
    release_connection()
    assert not User.objects.filter(pk="alice").exists()


@pytest.mark.slow
def test_whoever_waits_for_a_lock_waits_no_longer_and_leaves_no_queue_of_waiters() -> None:
    alice = User.objects.create(pk="alice", username="alice")
    locked, release = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            User.objects.select_for_update().get(pk=alice.pk)
            locked.set()
            release.wait(20)
        release_connection(final=True)

    holder = threading.Thread(target=hold)
    holder.start()
    assert locked.wait(10)
    for _ in range(2):
        seconds_until_refused(lambda: User.objects.filter(pk=alice.pk).update(email="a@b"))
        release_connection()
    assert eventually(lambda: not statements("UPDATE"))
    assert not waiting.database.is_away
    release.set()
    holder.join()


def test_a_block_bounds_its_statements_together() -> None:
    def many() -> None:
        with waiting.at_most(0.2):
            for _ in range(100):
                sleep(0.05)

    assert seconds_until_refused(many) < 3
    release_connection()


def test_an_inner_block_cannot_extend_an_outer_one() -> None:
    with waiting.at_most(0.1), waiting.at_most(60):
        assert seconds_until_refused(lambda: sleep(30)) < 3
    assert waiting.seconds_left() == SECONDS


def test_management_commands_wait_as_long_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "_seconds", None)
    with waiting.at_most(0.1):
        sleep(0.4)


def test_one_slow_statement_is_no_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "_answered_at", float("-inf"))
    seconds_until_refused(lambda: sleep(30))
    assert not waiting.database.is_away


def test_a_beat_that_waits_for_the_database_holds_up_the_others_for_a_part_of_a_lease(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    monkeypatch.setattr(waiting, "_seconds", 60)
    monkeypatch.setattr(heartbeat, "SHORTEST_BEAT_LIMIT", 0.2)
    settings.TURN_LEASE_SECONDS = 0.6
    heart = heartbeat.Heartbeat()
    beats: list[float] = []
    heart.register("one that waits", 0.01, lambda: sleep(30))
    heart.register("leases", 0.01, lambda: beats.append(time.monotonic()))
    heart.start()
    try:
        assert eventually(lambda: len(beats) > 2)
    finally:
        heart.stop()


# ---- An outage ------------------------------------------------------------------------------------------------------


def away(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """From now on the database counts as away, until the event is set."""
    back = threading.Event()

    def probe() -> None:
        if not back.is_set():
            raise psycopg.errors.ConnectionTimeout("connection timeout expired")

    monkeypatch.setattr(waiting.database, "_probe", probe)
    monkeypatch.setattr("bedrock_chat.resilience.dependencies.PROBE_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(waiting, "_answered_at", float("-inf"))
    waiting.note_silence(TimeoutError())
    assert waiting.database.is_away
    return back


def test_while_it_is_away_nobody_waits_for_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    release_connection()
    back = away(monkeypatch)
    started = time.monotonic()
    for _ in range(20):
        with pytest.raises(OperationalError):
            sleep(0)
    assert time.monotonic() - started < 20 * SECONDS / 2
    back.set()
    assert eventually(lambda: not waiting.database.is_away)
    sleep(0)


def test_who_writes_what_was_paid_for_waits_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    release_connection()
    back = away(monkeypatch)
    with waiting.patiently():
        sleep(0)
    release_connection()
    back.set()


def test_an_answer_to_anybody_says_that_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "_answered_at", float("-inf"))
    sleep(0)
    waiting.note_silence(TimeoutError())  # a pool that is used up, for example
    assert not waiting.database.is_away


def test_the_probe_asks_on_a_connection_of_its_own() -> None:
    release_connection()
    connections = [connection.pool.getconn() for _ in range(connection.pool.max_size)]
    try:
        waiting.database._probe()  # type: ignore[misc]
    finally:
        for pooled in connections:
            connection.pool.putconn(pooled)


def test_a_probe_of_nobody_says_so_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = {**connection.get_connection_params(), "host": "127.0.0.1", "port": "9"}
    monkeypatch.setattr(connection, "get_connection_params", lambda: parameters)
    with pytest.raises(psycopg.OperationalError) as refused:
        waiting.database._probe()  # type: ignore[misc]
    assert reason(refused.value) == State.REFUSED
