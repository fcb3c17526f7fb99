"""An app that listens for connections, as `django.contrib.postgres` does, hears of those of the pool too."""

from typing import Any

import pytest
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from bedrock_chat.database.postgresql.base import DatabaseWrapper

pytestmark = [
    pytest.mark.both,
    pytest.mark.django_db(transaction=True),
]


only_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no pool")


@only_postgresql
def test_who_listens_for_connections_hears_of_one_from_the_pool_and_may_use_it() -> None:
    heard = []

    def listen(sender: type, connection: BaseDatabaseWrapper, **_: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 7")
            heard.append((sender, cursor.fetchone()))

    connection_created.connect(listen)
    try:
        for _ in range(2):
            connection.close()
            connection.ensure_connection()
    finally:
        connection_created.disconnect(listen)
    assert connection.settings_dict["OPTIONS"].get("pool")
    assert heard == [(DatabaseWrapper, (7,))] * 2
    connection.close()
    connection.ensure_connection()
    assert len(heard) == 2
