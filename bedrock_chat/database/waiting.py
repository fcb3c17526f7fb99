"""How long this process waits for PostgreSQL, and whether it is there at all.

psycopg has no time-out of its own for a statement: a server that stands still would hold each thread for ever. SQLite
is a file of this machine; a disk that stands still cannot be bounded.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

from bedrock_chat.resilience.dependencies import Dependency

PROBE_SECONDS = 2.0

_seconds: float | None = None
_this_thread = threading.local()
_answered_at = float("-inf")  # on the monotonic clock


def enforce(seconds: float) -> None:
    """From now on no statement of this process waits for longer. Servers and workers call it; a migration may take
    hours, so management commands do not.
    """
    global _seconds  # noqa: PLW0603  one bound a process
    _seconds = seconds


def is_enforced() -> bool:
    return _seconds is not None


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Inside the block, all statements of this thread together have so many seconds, if this process has a bound."""
    outer = getattr(_this_thread, "due", None)
    due = time.monotonic() + seconds
    _this_thread.due = due if outer is None else min(due, outer)
    try:
        yield
    finally:
        _this_thread.due = outer


def seconds_left() -> float | None:
    """How long the next statement of this thread may take; None: as long as it likes."""
    if _seconds is None:
        return None
    due = getattr(_this_thread, "due", None)
    return _seconds if due is None else max(0.0, min(_seconds, due - time.monotonic()))


# ---- An outage ------------------------------------------------------------------------------------------------------


def _probe() -> None:
    """Asks on a connection of its own, since those of the pool may be dead. Then has the pool look at them."""
    pool = connection.pool  # type: ignore[attr-defined]  # only PostgreSQL's connections note silence
    parameters = {**connection.get_connection_params(), "connect_timeout": PROBE_SECONDS}
    with at_most(PROBE_SECONDS), pool.connection_class.connect(**parameters) as own:
        own.execute("SELECT 1")
    with at_most(PROBE_SECONDS):
        pool.check()


database = Dependency("The database", _probe)


def note_answer() -> None:
    """The database answered this process just now."""
    global _answered_at  # noqa: PLW0603  of this process
    _answered_at = time.monotonic()


def note_silence(error: BaseException) -> None:
    """Somebody has waited in vain. Where nobody else had an answer lately either, the database is away.

    One statement that waits for a lock, or a pool that is used up, is no outage.
    """
    if _seconds is not None and time.monotonic() - _answered_at > _seconds / 2:
        database.failed(error)


@contextmanager
def patiently() -> Iterator[None]:
    """Inside the block, this thread waits for a connection even while the database is away: it is worth the wait."""
    outer = getattr(_this_thread, "patient", False)
    _this_thread.patient = True
    try:
        yield
    finally:
        _this_thread.patient = outer


def refuse_while_away() -> None:
    """Raises Away, so that a request does not wait in vain for what others wait for already."""
    if not getattr(_this_thread, "patient", False):
        database.refuse_while_away()
