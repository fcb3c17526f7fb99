"""A thread's database connection, SQLite's lock and file, and the clock that all processes share."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from django.db import connection, connections, transaction
from django.utils import timezone

logger = logging.getLogger(__name__)

TRUNCATE_SECONDS = 1.0
"""How long SQLite's writers may be kept out by one attempt to empty the log, and the pause after it."""
TRUNCATE_ATTEMPTS = 10


class TransactionOpen(RuntimeError):
    """A connection was to be released in the middle of a transaction."""


def release_connection(*, final: bool = False) -> None:
    """Release this thread's connection before something slow. The next query takes one again by itself.

    On PostgreSQL it goes back to the pool: if 200 turns kept theirs while a model answers, they would starve a pool of
    ten. On SQLite the thread keeps its connection, which costs nothing while idle and 1.7 ms to open again. It is
    closed if it is broken, or if this is the end of the thread (`final`, which every thread that we start sets).

    Raises TransactionOpen inside `atomic()`: what the transaction wrote so far would be lost silently.
    """
    for wrapper in connections.all(initialized_only=True):
        if wrapper.in_atomic_block:
            raise TransactionOpen("A transaction is open: leave atomic() before the connection is released.")
        if final or wrapper.vendor != "sqlite":
            wrapper.close()
        else:
            wrapper.close_if_unusable_or_obsolete()


@contextmanager
def yield_sqlite_lock(pauses: float = 3.0) -> Iterator[None]:
    """Put this around each of many short transactions in a row. On SQLite it then sleeps `pauses` times as long as the
    transaction took, so that other writers get their turn.

    SQLite's lock has no queue. A writer that waits for it tries again now and then, and without the pauses it would
    find the lock taken every time.
    """
    started = time.monotonic()
    yield
    if connection.vendor == "sqlite":
        time.sleep(pauses * (time.monotonic() - started))


@contextmanager
def run_in_one_process() -> Iterator[None]:
    """Put this around statements that read some ten thousand rows, on any database. PostgreSQL would take them for
    large ones: to compile each, and to start processes that share its work, takes longer than the work itself.
    """
    if connection.vendor != "postgresql":
        yield
        return
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL jit = off; SET LOCAL max_parallel_workers_per_gather = 0")
        yield


def truncate_log() -> None:
    """Moves SQLite's write-ahead log into the database file and empties it, so that neither contains deleted data.

    SQLite keeps all writers out while it waits for those who still read the log. So it waits shortly, and again after
    a pause. If somebody reads all the time, the log stays as it is, and the application's log says so.
    """
    if connection.vendor != "sqlite":
        return
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout")
        (usual,) = cursor.fetchone()
        cursor.execute(f"PRAGMA busy_timeout = {round(TRUNCATE_SECONDS * 1000)}")
        try:
            for _ in range(TRUNCATE_ATTEMPTS):
                cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                (is_busy, _, _) = cursor.fetchone()
                if not is_busy:
                    return
                time.sleep(TRUNCATE_SECONDS)
        finally:
            cursor.execute(f"PRAGMA busy_timeout = {usual}")
    logger.warning("The write-ahead log may hold deleted data for now, since somebody reads it.")


def database_folder() -> Path | None:
    """Where SQLite's file is. None for a database on another machine."""
    return Path(connection.settings_dict["NAME"]).parent if connection.vendor == "sqlite" else None


def database_now() -> datetime:
    """The time of the clock that all processes on this database share. On PostgreSQL it is the server's, and it goes on
    inside a transaction. A SQLite file is on one machine, so it is that machine's.
    """
    if connection.vendor != "postgresql":
        return timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
        return now
