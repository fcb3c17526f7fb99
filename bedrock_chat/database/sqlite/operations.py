"""Times between Python and SQLite, in one step where Django takes nine: all of them are in UTC, on both sides."""

from datetime import UTC, datetime
from typing import Any

from django.db.backends.sqlite3.operations import DatabaseOperations


class Operations(DatabaseOperations):
    """Django's. A time that is not in UTC, or of a database that has a zone of its own, goes Django's way."""

    def adapt_datetimefield_value(self, value: Any) -> Any:
        if type(value) is datetime and value.tzinfo is UTC and self.connection.timezone is UTC:
            return value.replace(tzinfo=None).isoformat(" ")
        return super().adapt_datetimefield_value(value)

    def convert_datetimefield_value(self, value: Any, expression: Any, connection: Any) -> Any:
        if type(value) is datetime and value.tzinfo is None and self.connection.timezone is UTC:
            return value.replace(tzinfo=UTC)
        return super().convert_datetimefield_value(value, expression, connection)
