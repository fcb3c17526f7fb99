"""Searches the whole database for traces of a word, below Django's models."""

from typing import Any

from django.db import OperationalError, connection, transaction


def anything_of(word: str) -> list[str]:
    """The tables that hold a word, once per row, including the internal tables of SQLite's full-text index."""
    places = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            try:
                with transaction.atomic():
                    cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
                    rows = cursor.fetchall()
            except OperationalError:  # tables of FTS5 that hold no text cannot be read
                continue
            places += [table for row in rows if any(word.encode() in _bytes(value) for value in row)]
    return places


def _bytes(value: Any) -> bytes:
    return bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()
