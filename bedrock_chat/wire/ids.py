"""Identifiers: ULIDs, made in one place, and the column that orders them alike on every database."""

import threading
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from ulid import ULID

ID_LENGTH = 256
"""Characters of an id that a client chooses, at most."""

_lock = threading.Lock()
_last = 0


def new_id() -> str:
    """A ULID of 26 characters. Those of one process ascend, whatever its clock does, and so order by creation."""
    global _last  # noqa: PLW0603  one clock per process
    made = int.from_bytes(ULID().bytes)
    with _lock:
        _last = max(made, _last + 1)
        return str(ULID.from_int(_last))


class CodePointCharField(models.CharField):
    """Text that orders by code point on both databases: SQLite's own order, and COLLATE "C" on PostgreSQL."""

    def db_parameters(self, connection: BaseDatabaseWrapper) -> dict[str, Any]:
        parameters = super().db_parameters(connection)
        if connection.vendor == "postgresql":
            parameters["collation"] = "C"
        return parameters
