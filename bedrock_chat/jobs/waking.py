"""How an idle worker learns within milliseconds that there is something to do, without asking all the time.

PostgreSQL tells it: a connection of its own, outside Django's pool, listens. On SQLite `PRAGMA data_version` moves when
another connection commits; reading it costs no lock and, fifty times a second, less than a hundredth of a core. Whoever
waits looks again after a second in any case.
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

import psycopg
from django.db import connection

from bedrock_chat.jobs.queue import CHANNEL

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.02
PAUSE_SECONDS = 1.0


class ReentrantEvent:
    """An event for one thread to wait for, which its own signal handlers may set too.

    They run in the middle of whatever the thread does: a `threading.Event` that is set while the thread holds the lock
    within, about to wait for that very event, never returns.
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
        except (psycopg.Error, sqlite3.Error, OSError) as error:
            logger.warning("jobs are looked for every second for now: %s", type(error).__name__)
        time.sleep(PAUSE_SECONDS)
        wake()


def _listen(wake: Callable[[], object]) -> None:
    """Django's own connections go back to a pool, and lose what they listen to."""
    parameters: dict[str, Any] = {
        name: value
        for name, value in connection.get_connection_params().items()
        if name not in ("pool", "context", "cursor_factory", "prepare_threshold")
    }
    with psycopg.connect(**parameters, autocommit=True) as listener:
        listener.execute(f"LISTEN {CHANNEL}")
        wake()  # whatever was told before
        for _ in listener.notifies():
            wake()


def _watch(wake: Callable[[], object]) -> None:
    path = Path(connection.settings_dict["NAME"]).absolute()
    database = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    try:
        seen = None
        while True:
            (version,) = database.execute("PRAGMA data_version").fetchone()
            if version != seen:
                seen = version
                wake()
            time.sleep(LOOK_SECONDS)
    finally:
        database.close()
