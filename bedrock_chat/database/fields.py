"""Column types of our own."""

import json
from typing import Any

import orjson
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper


class CodePointCharField(models.CharField):
    """Text that orders by code point on both databases: SQLite's own order, and COLLATE "C" on PostgreSQL."""

    def db_parameters(self, connection: BaseDatabaseWrapper) -> dict[str, Any]:
        parameters = super().db_parameters(connection)
        if connection.vendor == "postgresql":
            parameters["collation"] = "C"
        return parameters


class FastEncoder(json.JSONEncoder):
    """Encodes what `orjson` can many times faster, for JSON columns that are long and written often."""

    def encode(self, o: Any) -> str:
        try:
            return orjson.dumps(o).decode()
        except TypeError:  # such as a number of more than 64 bits
            return super().encode(o)
