"""How an idle worker learns within milliseconds that there is something to do, without polling the queue all the time.

On PostgreSQL a connection of its own, outside Django's pool, listens for notifications. On SQLite `PRAGMA data_version`
changes when another connection commits; reading it takes no lock and, fifty times a second, less than a hundredth of a
core. In any case a waiting worker looks again after a second.
"""

import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from django.db import connection

from bedrock_chat.jobs.queue import CHANNEL

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.02
PAUSE_SECONDS = 1.0
SILENCE_SECONDS = 60.0


class ReentrantEvent:
    """An event that one thread waits for, and that this thread's own signal handlers may set, too.

    A handler interrupts the thread at any point. If the thread is about to wait, it holds the lock of the event, and
    `set` of a `threading.Event` would wait for that lock for ever.
    """

    def __init__(self) -> None:
        self._set: SimpleQueue[None] = SimpleQueue()

    def set(self) -> None:
        self._set.put(None)

    def clear(self) -> None:
        with contextlib.suppress(Empty):
            while True:
                self._set.get_nowait()

    def wait(self, seconds: float) -> None:
        """Returns when the event is set, at the latest after so many seconds."""
        with contextlib.suppress(Empty):
            self._set.get(timeout=seconds)


def start(wake: Callable[[], object]) -> None:
    """Calls `wake` from a thread of its own whenever there may be something to do."""
    listen = _listen if connection.vendor == "postgresql" else _watch
    threading.Thread(target=_for_ever, args=(listen, wake), name="job wake-ups", daemon=True).start()


def _for_ever(listen: Callable[[Callable[[], object]], None], wake: Callable[[], object]) -> None:
    while True:
        try:
            listen(wake)
        except (connection.Database.Error, OSError) as error:  # type: ignore[attr-defined]  # psycopg or sqlite3
            logger.warning("jobs are looked for every second for now: %s", type(error).__name__)
        time.sleep(PAUSE_SECONDS)
        wake()


def _listen(wake: Callable[[], object]) -> None:
    """Listens on a connection of its own: Django's go back to a pool, and then no longer listen.

    A server that stands still says nothing either, so after a while of silence it is asked whether it is there.
    """
    from bedrock_chat.database.postgresql.connection import BoundedConnection  # noqa: PLC0415  psycopg takes 10 MB

    parameters: dict[str, Any] = {
        name: value
        for name, value in connection.get_connection_params().items()
        if name not in ("pool", "context", "cursor_factory", "prepare_threshold")
    }
    with BoundedConnection.connect(**parameters, autocommit=True) as listener:
        listener.execute(f"LISTEN {CHANNEL}")
        wake()  # for jobs that were added before this connection listened
        while True:
            for _ in listener.notifies(timeout=SILENCE_SECONDS):
                wake()
            listener.execute("SELECT 1")


def _watch(wake: Callable[[], object]) -> None:
    """Reads `data_version` on a read-only connection of its own."""
    path = Path(connection.settings_dict["NAME"]).absolute()
    database = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    try:
        last_version = None
        while True:
            (version,) = database.execute("PRAGMA data_version").fetchone()
            if version != last_version:
                last_version = version
                wake()
            time.sleep(LOOK_SECONDS)
    finally:
        database.close()
