"""Statements of some ten thousand rows are run by one process of PostgreSQL, as they are."""

import pytest
from django.db import connection

from bedrock_chat.database.connections import run_in_one_process

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True)]


def settings_of_server() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('jit'), current_setting('max_parallel_workers_per_gather')")
        return list(cursor.fetchone())


def test_postgresql_does_no_more_than_run_it_and_only_there() -> None:
    if connection.vendor != "postgresql":
        with run_in_one_process():
            assert not connection.in_atomic_block  # on SQLite a transaction would keep writers out
        return
    before = settings_of_server()
    with run_in_one_process():
        assert settings_of_server() == ["off", "0"]
    assert settings_of_server() == before != ["off", "0"]
