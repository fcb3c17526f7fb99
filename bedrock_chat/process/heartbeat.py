"""The process's one thread for what must happen every few seconds: leases, checkpoints, the health of the pool."""

import logging
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.signals import got_request_exception
from django.db import InterfaceError, OperationalError, connection

from bedrock_chat.database.connections import release_connection
from bedrock_chat.database.waiting import at_most

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_POOL_CHECKS = 1.0
POOL_CHECK_SECONDS = 2.0
SHORTEST_BEAT_LIMIT = 2.0


@dataclass(slots=True)
class Beat:
    name: str
    every_seconds: float
    function: Callable[[], None]
    due: float  # on the monotonic clock


class Heartbeat:
    """Beats run one after the other on one daemon thread; one that raises is logged and comes again at its next time.
    The statements of a beat have a third of a lease together, since one that waits holds up the renewal of all leases.

    On SQLite the thread keeps a connection open for life: closing the *last* connection of a process costs a
    checkpoint, some 2 ms of whichever request happens to do it. On PostgreSQL it holds none between beats. After a
    lost connection it has the pool check all of them: 6 ms once, instead of one failure per broken connection.
    """

    def __init__(self) -> None:
        self._beats: dict[str, Beat] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._connection_lost = False
        self._next_pool_check = 0.0

    def register(self, name: str, every_seconds: float, function: Callable[[], None]) -> None:
        """Call `function` every so many seconds, first after one such pause.

        A name that is registered again replaces its beat, but keeps the earlier time: registering often delays nothing.
        """
        with self._changed:
            due = time.monotonic() + every_seconds
            if (registered := self._beats.get(name)) is not None:
                if (registered.every_seconds, registered.function) == (every_seconds, function):
                    return
                due = min(due, registered.due)
            self._beats[name] = Beat(name, every_seconds, function, due)
            self._changed.notify()

    def unregister(self, name: str) -> None:
        """Forget the beat. If it runs just now, it runs to its end."""
        with self._changed:
            self._beats.pop(name, None)

    def start(self) -> None:
        """Start the thread, unless it runs already."""
        with self._changed:
            if self._thread is not None:
                return
            self._stopping = False
            self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
            self._thread.start()
        got_request_exception.connect(self._request_failed, dispatch_uid="heartbeat")

    def stop(self, timeout: float = 5.0) -> None:
        """End the thread, and wait so many seconds for a beat that is running. Beats stay registered."""
        with self._changed:
            thread, self._thread = self._thread, None
            self._stopping = True
            self._changed.notify()
        got_request_exception.disconnect(dispatch_uid="heartbeat")
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def connection_lost(self) -> None:
        """Tell the heartbeat that a query failed on its connection: the others in the pool are likely broken too."""
        with self._changed:
            self._connection_lost = True
            self._changed.notify()

    def _request_failed(self, **_: Any) -> None:
        if isinstance(sys.exception(), OperationalError | InterfaceError):
            self.connection_lost()

    def _run(self) -> None:
        try:
            while True:
                self._keep_sqlite_open()
                due = self._wait()
                if due is None:
                    return
                if self._connection_lost and time.monotonic() >= self._next_pool_check:
                    self._check_pool()
                for beat in due:
                    self._beat(beat)
        finally:
            release_connection(final=True)

    def _wait(self) -> list[Beat] | None:
        """Sleep until there is work. Returns the beats that are due (none for a check of the pool), or None to end."""
        with self._changed:
            while not self._stopping:
                now = time.monotonic()
                if due := [beat for beat in self._beats.values() if beat.due <= now]:
                    for beat in due:
                        # Counted from now: after the machine slept for an hour, the missed beats must not all run.
                        beat.due = now + beat.every_seconds
                    return due
                if self._connection_lost and now >= self._next_pool_check:
                    return []
                due_times = [beat.due for beat in self._beats.values()]
                if self._connection_lost:
                    due_times.append(self._next_pool_check)
                self._changed.wait(min(due_times) - now if due_times else None)
            return None

    def _beat(self, beat: Beat) -> None:
        try:
            with at_most(_beat_limit()):
                beat.function()
        except Exception as error:
            logger.exception("The heartbeat's %s failed and will be tried again.", beat.name)
            if isinstance(error, OperationalError | InterfaceError):
                self.connection_lost()
        try:
            release_connection()
        except Exception:
            logger.exception("The heartbeat's %s left its database connection in disorder.", beat.name)

    def _check_pool(self) -> None:
        self._connection_lost = False
        self._next_pool_check = time.monotonic() + SECONDS_BETWEEN_POOL_CHECKS
        pool = getattr(connection, "pool", None)  # SQLite's connections have no pool
        if pool is None:
            return
        try:
            with at_most(POOL_CHECK_SECONDS):
                pool.check()
        except Exception:
            logger.exception("The connection pool could not be checked.")

    def _keep_sqlite_open(self) -> None:
        try:
            if connection.vendor == "sqlite":
                connection.ensure_connection()
        except Exception:
            logger.exception("The heartbeat could not open the database.")


def _beat_limit() -> float:
    """Seconds. Short leases, as tests have them, do not mean that the database is quicker."""
    return max(SHORTEST_BEAT_LIMIT, min(settings.TURN_LEASE_SECONDS, settings.JOB_LEASE_SECONDS) / 3)


_heartbeat = Heartbeat()
register = _heartbeat.register
unregister = _heartbeat.unregister
start = _heartbeat.start
stop = _heartbeat.stop
connection_lost = _heartbeat.connection_lost
