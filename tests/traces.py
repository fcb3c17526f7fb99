"""What the database holds, looked at from below."""

from typing import Any

from django.db import OperationalError, connection, transaction


def anything_of(word: str) -> list[str]:
    """The places in the database, the inside of SQLite's index included, that hold a word."""
    found = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            try:
                with transaction.atomic():
                    cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
                    rows = cursor.fetchall()
            except OperationalError:  # full-text tables of FTS5 that hold no text
                continue
            found += [table for row in rows if any(word.encode() in _bytes(value) for value in row)]
    return found


def _bytes(value: Any) -> bytes:
    return bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()
