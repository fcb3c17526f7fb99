"""psycopg's connection, with a bound on every wait."""

from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import psycopg
from psycopg import abc
from psycopg.adapt import Transformer
from psycopg.types.datetime import TimestamptzLoader

from bedrock_chat.database import waiting

CANCEL_SECONDS = 1.0


class NoAnswer(psycopg.OperationalError):
    """The server did not answer in time, or not lately. A connection is closed then: its answer may still come."""


class TimeLoader(TimestamptzLoader):
    """Reads a time in one step, where Django's loader and psycopg's take twelve: the connection's zone is UTC. What is
    no ISO time of that zone (`infinity`, a time before the year 1) goes psycopg's way.
    """

    timezone = UTC
    """Django's cursors look whether this is theirs."""

    def load(self, data: abc.Buffer) -> datetime:
        try:
            moment = datetime.fromisoformat(str(data, "ascii"))
        except ValueError:
            moment = super().load(data)
        return moment if moment.tzinfo is UTC else moment.astimezone(UTC)


class BoundedConnection(psycopg.Connection[Any]):
    """A connection whose statements take as long as `waiting` allows, however slowly the bytes of an answer drip in."""

    @cached_property
    def prepared(self) -> dict[bytes, bytes]:
        """SQL that `pipeline` has prepared on this connection → its name."""
        return {}

    @cached_property
    def transformer(self) -> abc.Transformer:
        """What `pipeline` turns values into text with, and back. It keeps what it has looked up for each type."""
        return Transformer(self)

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Everything that psycopg waits for goes through here, apart from connecting, which has a time-out.

        With a `timeout` the caller handles its end (`notifies`).
        """
        seconds = waiting.seconds_left() if timeout is None else timeout
        try:
            result = super().wait(gen, interval, seconds)
        except psycopg.errors._WaitTimeout:
            if timeout is not None:
                raise
            is_alive = self._cancel()
            self.pgconn.finish()
            error = NoAnswer(f"no answer from the database within {seconds:g} seconds")
            if not is_alive:
                waiting.note_silence(error)
            raise error from None
        waiting.note_answer()
        return result

    def _cancel(self) -> bool:
        """Tells the server that nobody waits for the statement any more, or it would go on, and wait for its lock among
        ever more of them. Returns whether there was a server to tell.
        """
        if waiting.database.is_away or not psycopg.capabilities.has_cancel_safe():
            return False
        try:
            self.cancel_safe(timeout=CANCEL_SECONDS)
        except psycopg.Error:
            return False
        return True
