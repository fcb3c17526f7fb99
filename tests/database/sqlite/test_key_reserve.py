"""Keys that a process has set apart on SQLite: none is used twice, and later rows have higher ones."""

import sqlite3
from pathlib import Path

import pytest
from django.db import connection, transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bedrock_chat.database import compiled_sql
from bedrock_chat.database.sqlite import key_reserve
from bedrock_chat.database.sqlite.base import DatabaseWrapper
from bedrock_chat.database.sqlite.key_reserve import KeyReserve
from bedrock_chat.ledger.rollups.models import LateEnd
from tests.database.sqlite.conftest import Connect
from tests.database.sqlite.test_writer_queue import begin, end

INSERT = (
    "INSERT INTO entry (id, text) VALUES ((SELECT %s FROM sqlite_sequence WHERE name = 'entry' AND seq = %s), %s)"
    " RETURNING id"
)


@pytest.fixture
def alice(connect: Connect) -> DatabaseWrapper:
    wrapper = connect()
    with wrapper.cursor() as cursor:
        cursor.execute("CREATE TABLE entry (id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT)")
    return wrapper


@pytest.fixture
def other_process(alice: DatabaseWrapper, connect: Connect) -> DatabaseWrapper:
    """A connection that knows nothing of the keys which this process has set apart."""
    wrapper = connect()
    wrapper.settings_dict["OPTIONS"]["timeout"] += 1  # `writers_of` is per database and patience
    assert wrapper.writers is not alice.writers
    return wrapper


@pytest.fixture(autouse=True)
def few_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """So few that tests use them up."""
    monkeypatch.setattr(key_reserve, "KEYS", 4)


def insert(wrapper: DatabaseWrapper) -> int:
    (((key,),), _) = wrapper.insert("entry", INSERT, ["text"])
    return int(key)


def insert_as_django_does(wrapper: DatabaseWrapper) -> int:
    rows, _ = wrapper.execute_directly("INSERT INTO entry (text) VALUES (%s) RETURNING id", ["text"])
    return int(rows[0][0])


def write(wrapper: DatabaseWrapper, number: int, *, commit: bool = True) -> list[int]:
    """Inserts so many rows in a transaction. Returns their keys."""
    begin(wrapper)
    keys = [insert(wrapper) for _ in range(number)]
    end(wrapper, commit=commit)
    return keys


def highest(database: Path) -> int:
    connection = sqlite3.connect(database)
    (key,) = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'entry'").fetchone()
    connection.close()
    return int(key)


def test_most_insertions_leave_the_list_of_the_highest_keys_alone(alice: DatabaseWrapper, database: Path) -> None:
    listed: list[int] = []
    for number in range(1, 12):
        assert write(alice, 1) == [number]
        listed.append(highest(database))
    assert listed == [1, 6, 6, 6, 6, 6, 11, 11, 11, 11, 11]


def test_a_row_takes_no_key_of_one_that_was_deleted(alice: DatabaseWrapper) -> None:
    keys = write(alice, 3)
    alice.execute_directly("DELETE FROM entry", [])
    assert write(alice, 2) == [keys[-1] + 1, keys[-1] + 2]


def test_what_a_process_has_set_apart_is_lost_with_it(alice: DatabaseWrapper) -> None:
    keys = write(alice, 3)
    alice.writers.keys = KeyReserve()
    assert write(alice, 1) > [keys[-1] + 1]


def test_keys_of_before_a_restored_backup_are_forgotten(
    alice: DatabaseWrapper, other_process: DatabaseWrapper, database: Path
) -> None:
    """The other process may set the same keys apart, and then the list says what this one knows."""
    write(alice, 3)
    before = highest(database)
    with sqlite3.connect(database) as connection:
        connection.execute("DELETE FROM entry")
        connection.execute("UPDATE sqlite_sequence SET seq = 0")
    keys = write(other_process, 4)
    assert highest(database) == before
    assert write(alice, 1) > keys[-1:]


def test_processes_that_take_turns_set_no_keys_apart(
    alice: DatabaseWrapper, other_process: DatabaseWrapper, database: Path
) -> None:
    write(alice, 3)
    keys = [write(wrapper, 1)[0] for _ in range(3) for wrapper in (other_process, alice)]
    assert keys == list(range(keys[0], keys[0] + 6))
    assert highest(database) == keys[-1]


def test_an_insertion_outside_a_transaction_gets_a_higher_key(alice: DatabaseWrapper) -> None:
    keys = write(alice, 3)
    later = insert(alice)
    assert later > keys[-1]
    assert write(alice, 1)[0] > later


ACTIONS = st.sampled_from(["insert", "insert", "insert as Django does", "savepoint", "back", "delete the newest"])
TRANSACTIONS = st.tuples(
    st.sampled_from([0, 1]), st.lists(ACTIONS, max_size=8), st.sampled_from(["commit", "roll back", "die"])
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(transactions=st.lists(TRANSACTIONS, max_size=8))
def test_whatever_two_processes_do_later_rows_have_higher_keys(
    alice: DatabaseWrapper, other_process: DatabaseWrapper, transactions: list[tuple[int, list[str], str]]
) -> None:
    newest = 0
    for process, actions, ending in transactions:
        wrapper = (alice, other_process)[process]
        keys = run(wrapper, actions)
        assert all(key > before for before, key in zip([newest, *keys], keys, strict=False))
        if ending == "die":
            wrapper.close()
            wrapper.connect()
        else:
            end(wrapper, commit=ending == "commit")
        if ending == "commit":
            newest = max(newest, *keys) if keys else newest


def run(wrapper: DatabaseWrapper, actions: list[str]) -> list[int]:
    """Does this in a transaction. Returns the keys that were not taken back, in their order."""
    begin(wrapper)
    keys: list[int] = []
    at_savepoint: list[int] | None = None
    for action in actions:
        if action == "insert":
            keys.append(insert(wrapper))
        elif action == "insert as Django does":
            keys.append(insert_as_django_does(wrapper))
        elif action == "savepoint":
            wrapper._savepoint("here")
            at_savepoint = list(keys)
        elif action == "back" and at_savepoint is not None:
            wrapper._savepoint_rollback("here")
            keys = list(at_savepoint)
        elif action == "delete the newest":
            wrapper.execute_directly("DELETE FROM entry WHERE id = (SELECT MAX(id) FROM entry)", [])
    return keys


@pytest.mark.django_db(transaction=True)
def test_rows_of_models_bring_their_keys() -> None:
    for _ in range(3):
        with transaction.atomic():
            row = LateEnd(start=timezone.now())
            compiled_sql.insert(row)
    with connection.cursor() as cursor:
        cursor.execute("SELECT seq FROM sqlite_sequence WHERE name = %s", [LateEnd._meta.db_table])
        assert cursor.fetchone()[0] > row.pk
