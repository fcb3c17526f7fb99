"""Statements that go to the database together: their results, their faults, and a server that stalls meanwhile."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import DataError, IntegrityError, OperationalError, connection, transaction
from django.db.backends.postgresql.base import Cursor, ServerBindingCursor

from bedrock_chat.database import compiled_sql, waiting
from bedrock_chat.database.compiled_sql import NOW, Batch
from bedrock_chat.database.connections import database_now, release_connection
from bedrock_chat.database.postgresql import pipeline
from bedrock_chat.database.postgresql.connection import BoundedConnection, NoAnswer
from bedrock_chat.identity.models import User
from conversations.models import Conversation, Message
from tests import build
from tests.proxy import BLACK_HOLE, SLOW_DRIP
from tests.serving.conftest import eventually
from tests.stalling import STOPPED, Proxy, Service

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True)]

SECONDS = 0.5
COLUMNS = ("pk", "external_id")


@pytest.fixture
def alice() -> User:
    return User.objects.create(pk="alice", username="alice")


@pytest.fixture
def pipelines(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The test is of PostgreSQL's pipelines, with a short bound on every wait."""
    if connection.vendor != "postgresql":
        pytest.skip("statements of SQLite run one after the other")
    assert connection.pipelines  # type: ignore[attr-defined]
    monkeypatch.setattr(waiting, "_seconds", SECONDS)
    monkeypatch.setattr(waiting, "_answered_at", time.monotonic())
    yield
    release_connection()
    assert eventually(lambda: not waiting.database.is_away)


def run_together(*statements: tuple[str, list[Any]]) -> Any:
    return connection.execute_together(statements)  # type: ignore[attr-defined]


def rename(name: str) -> tuple[str, list[Any]]:
    return f"UPDATE {connection.ops.quote_name(User._meta.db_table)} SET username = %s WHERE id = 'alice'", [name]


# ---- Results --------------------------------------------------------------------------------------------------------


def test_each_statement_sees_what_those_before_it_wrote(alice: User) -> None:
    conversation = build.conversation(alice, "c1")
    with transaction.atomic(), Batch() as batch:
        renamed = batch.update(User, {"pk": "alice"}, username="alicia")
        user = batch.get(User, {"pk": "alice"})
        bob = batch.get(User, {"pk": "bob"})
        grown = batch.update(Conversation, {"pk": conversation.pk}, {"size": 5}, last_question="q1")
        rows = batch.select(Conversation, COLUMNS, {"user_id": "alice"})
    assert (renamed.result, grown.result) == (1, 1)
    assert user.result is not None
    assert user.result.username == "alicia"
    assert bob.result is None
    assert rows.result == [(conversation.pk, "c1")]


def test_the_rows_of_a_row_come_with_it(alice: User) -> None:
    conversation = build.conversation(alice, "c1")
    answer = build.exchange(conversation, "one")
    build.exchange(build.conversation(alice, "c2"), "another's")
    with transaction.atomic(), Batch() as batch:
        known = batch.get(Conversation, {"user_id": "alice", "external_id": "c1"}, lock=True)
        messages = batch.select_of(known, Message, COLUMNS, "conversation_id")
        unknown = batch.get(Conversation, {"user_id": "alice", "external_id": "c3"}, lock=True)
        nothing = batch.select_of(unknown, Message, COLUMNS, "conversation_id")
    assert [pk for pk, _ in messages.result] == [answer.parent_id, answer.pk]
    assert (unknown.result, nothing.result) == (None, [])


def test_a_row_that_is_inserted_gets_its_key_unless_another_has_its_place(alice: User) -> None:
    now = database_now()
    rows = [Conversation(external_id=name, user_id="alice", created_at=now, updated_at=now) for name in ("a", "a", "b")]
    with transaction.atomic(), Batch() as batch:
        inserted = [batch.insert_unless_taken(row, ("user_id", "external_id")) for row in rows]
    assert [statement.result for statement in inserted] == [True, False, True]
    assert dict(Conversation.objects.values_list("pk", "external_id")) == {rows[0].pk: "a", rows[2].pk: "b"}


def test_the_database_writes_the_time_of_its_clock(alice: User) -> None:
    conversation = build.conversation(alice, "c1")
    before = database_now()
    with Batch() as batch:
        now = batch.now()
        batch.update(Conversation, {"pk": conversation.pk}, updated_at=NOW)
    conversation.refresh_from_db()
    assert before <= now.result <= conversation.updated_at <= database_now()


def test_nothing_is_run_if_the_block_raises_on_the_way(pipelines: None, alice: User) -> None:
    def begin() -> None:
        with Batch() as batch:
            batch.update(User, {"pk": "alice"}, username="alicia")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        begin()
    alice.refresh_from_db()
    assert alice.username == "alice"


def test_a_batch_is_one_round_trip(pipelines: None, alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[None] = []
    with transaction.atomic():
        monkeypatch.setattr(waiting, "note_answer", lambda: answers.append(None))
        with Batch() as batch:  # BEGIN goes with it
            for number in range(20):
                batch.update(User, {"pk": "alice"}, username=f"alice {number}")
        assert len(answers) == 1


def test_more_than_the_network_takes_at_once_goes_both_ways(pipelines: None, alice: User) -> None:
    text = "x" * 3_000_000
    echoed = run_together(*[("SELECT CAST(%s AS TEXT)", [text])] * 5)
    assert [len(rows[0][0]) for rows, _ in echoed] == [len(text)] * 5


# ---- Faults ---------------------------------------------------------------------------------------------------------


def test_the_first_fault_is_raised_and_nothing_of_the_transaction_stays(alice: User) -> None:
    bob = User.objects.create(pk="bob", username="bob")

    @transaction.atomic
    def write() -> None:
        with Batch() as batch:
            batch.update(User, {"pk": "alice"}, username="alicia")
            batch.update(User, {"pk": "bob"}, username=None)
            batch.update(User, {"pk": "bob"}, username="robert")

    with pytest.raises(IntegrityError):
        write()
    alice.refresh_from_db()
    bob.refresh_from_db()
    assert (alice.username, bob.username) == ("alice", "bob")


def test_after_a_fault_the_connection_serves_on(alice: User) -> None:
    with pytest.raises(IntegrityError), Batch() as batch:
        batch.update(User, {"pk": "alice"}, username=None)
    assert compiled_sql.update(User, {"pk": "alice"}, username="alicia") == 1


def test_text_that_cannot_be_sent_harms_nobody_else(pipelines: None, alice: User) -> None:
    with pytest.raises(DataError):
        run_together(rename("alicia"), rename("a\0"))
    assert run_together(("SELECT username FROM bedrock_chat_user WHERE id = %s", ["alice"]))[0][0] == [("alice",)]


def test_statements_are_prepared_once_for_a_connection_and_only_if_asked(
    pipelines: None, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prepared() -> int:
        return run_together(("SELECT count(*) FROM pg_prepared_statements WHERE name LIKE %s", ["batch%"]))[0][0][0][0]

    release_connection()
    assert prepared() == 0
    run_together(rename("a"))
    assert prepared() == 0
    monkeypatch.setattr(connection.connection, "prepare_threshold", 5)
    prepared()
    for name in ("b", "c"):
        with transaction.atomic():
            run_together(rename(name), rename(name), ("SELECT 1", []))
    with pytest.raises(IntegrityError):
        run_together(("SELECT 2", []), (rename("")[0], [None]), ("SELECT 3", []))
    run_together(("SELECT 2", []), ("SELECT 3", []), rename("d"))
    assert prepared() == 5  # of this module, the count itself included
    alice.refresh_from_db()
    assert alice.username == "d"


@pytest.mark.parametrize("is_binding", [False, True], ids=["client", "server"])
def test_statements_stay_prepared_after_a_rollback(
    pipelines: None, alice: User, monkeypatch: pytest.MonkeyPatch, is_binding: bool
) -> None:
    """With Django's `server_side_binding` psycopg prepares as well, and has the server forget all of it."""
    connection.ensure_connection()
    factory = ServerBindingCursor if is_binding else Cursor
    monkeypatch.setattr(connection.connection, "cursor_factory", factory)
    monkeypatch.setattr(connection.connection, "prepare_threshold", 0)
    with transaction.atomic():
        list(User.objects.filter(pk="alice"))
        run_together(rename("bob"))
        transaction.set_rollback(True)
    run_together(rename("carol"))
    alice.refresh_from_db()
    assert alice.username == "carol"


# ---- A server that stalls or dies in the midst ----------------------------------------------------------------------


def assert_refused_in_time(*statements: tuple[str, list[Any]]) -> None:
    started = time.monotonic()
    with pytest.raises(OperationalError), transaction.atomic():
        run_together(*statements)
    assert time.monotonic() - started < 5
    release_connection()
    assert User.objects.get(pk="alice").username == "alice"


def test_a_statement_that_takes_too_long_takes_all_of_them_back(pipelines: None, alice: User) -> None:
    assert_refused_in_time(rename("before"), ("SELECT pg_sleep(30)", []), rename("after"))
    busy = "SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query LIKE %s AND state = 'active'"
    assert eventually(lambda: run_together((busy, ["%pg_sleep%"]))[0][0] == [(0,)])


def test_the_bound_is_that_of_all_of_them_together(pipelines: None, alice: User) -> None:
    assert_refused_in_time(rename("before"), *[("SELECT pg_sleep(%s)", [SECONDS / 3])] * 50)


def test_a_server_that_dies_between_two_statements_has_written_neither(pipelines: None, alice: User) -> None:
    [([(pid,)], _)] = run_together(("SELECT pg_backend_pid()", []))
    killer = threading.Timer(0.1, kill, [pid])
    killer.start()
    assert_refused_in_time(rename("before"), ("SELECT pg_sleep(30)", []), rename("after"))
    killer.join()


def kill(pid: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
    release_connection(final=True)


@pytest.mark.parametrize("fault", [STOPPED, BLACK_HOLE, SLOW_DRIP])
def test_a_server_that_stalls_between_two_answers_is_given_up(pipelines: None, alice: User, fault: str) -> None:
    parameters = connection.get_connection_params()
    host, port, user = parameters["host"], parameters.get("port", 5432), parameters["user"]
    with Proxy(Service(f"postgres://{user}@{host}:{port}/")) as proxy:
        address, port = proxy.address.split(":")
        login = {**parameters, "host": address, "port": port}
        with BoundedConnection.connect(**login) as stalling:
            statements = [(b"SELECT 1", []), (b"SELECT pg_sleep(0.2)", []), (b"SELECT repeat('x', 100000)", [])]
            assert len(pipeline.run(stalling, statements)) == 3
            stall = threading.Event()

            def begin() -> None:
                time.sleep(0.1)
                with proxy.having(fault):
                    stall.wait(20)

            stalls = threading.Thread(target=begin)
            stalls.start()
            started = time.monotonic()
            try:
                with pytest.raises(NoAnswer):
                    pipeline.run(stalling, statements)
                assert SECONDS * 0.9 < time.monotonic() - started < 5
                assert stalling.closed
            finally:
                stall.set()
                stalls.join()


def test_without_pipelines_the_statements_run_one_after_the_other(
    pipelines: None, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psycopg.capabilities, "has_pipeline", lambda: False)
    conversation = build.conversation(alice, "c1")
    answer = build.exchange(conversation, "one")
    with transaction.atomic(), Batch() as batch:
        row = batch.get(Conversation, {"pk": conversation.pk}, lock=True)
        assert row.result is not None  # it has run
        messages = batch.select_of(row, Message, COLUMNS, "conversation_id")
        batch.update(Conversation, {"pk": conversation.pk}, updated_at=NOW)
    assert [pk for pk, _ in messages.result] == [answer.parent_id, answer.pk]
