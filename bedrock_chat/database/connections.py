"""The thread's database connection: letting go of it, and of SQLite's lock; the clock of all who share the database."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from django.db import connection, connections
from django.utils import timezone


class TransactionOpen(RuntimeError):
    """A connection was to be let go in the middle of a transaction."""


def release_connection(*, final: bool = False) -> None:
    """Let go of this thread's connection before something slow; the next query takes one again by itself.

    On PostgreSQL it goes back to the pool: held while a model talks, 200 turns starve a pool of ten. On SQLite the
    thread keeps its own, which costs nothing while idle and 1.7 ms to open again, unless it is broken or this is the
    thread's last act (`final`, which every thread we start ends with).

    Raises TransactionOpen inside `atomic()`: what the transaction wrote so far would be lost without a word.
    """
    for held in connections.all(initialized_only=True):
        if held.in_atomic_block:
            raise TransactionOpen("A transaction is open: leave atomic() before the connection is released.")
        if final or held.vendor != "sqlite":
            held.close()
        else:
            held.close_if_unusable_or_obsolete()


@contextmanager
def yield_sqlite_lock(pauses: float = 3.0) -> Iterator[None]:
    """Around one of many short transactions in a row: pauses behind it, on SQLite, so many times as long as it took.

    SQLite's lock has no queue. Who waits for it looks now and then, and would find it taken time after time.
    """
    started = time.monotonic()
    yield
    if connection.vendor == "sqlite":
        time.sleep(pauses * (time.monotonic() - started))


def truncate_log() -> None:
    """Brings what was written into SQLite's file and empties its log, so that what was deleted stands in neither."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def database_now() -> datetime:
    """The time by the clock that all processes on this database share: PostgreSQL's, even in mid-transaction.

    A SQLite file lives on one machine, whose own clock is that clock.
    """
    if connection.vendor != "postgresql":
        return timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
        return now
