"""Stops a process that others share a database with."""

import contextlib
import os
import signal
import sqlite3
import time
from pathlib import Path


def stand_still(pid: int, database_url: str) -> None:
    """Stops a process with SIGSTOP, at a moment when it does not hold SQLite's one lock, which would stop all others.

    Until one of its threads has seen the signal the others go on: on a busy machine long enough to take the lock.
    """
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        os.kill(pid, signal.SIGSTOP)
        while not _stands_still(pid):
            assert time.monotonic() < deadline
            time.sleep(0.001)
        if not database_url.startswith("sqlite") or _is_free(database_url.removeprefix("sqlite:///")):
            return
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.01)
    raise AssertionError("It held SQLite's lock at every stop.")


def _stands_still(pid: int) -> bool:
    """Whether all of its threads are stopped."""
    try:
        threads = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    except OSError:  # one of them has just ended
        return False
    return all(thread.rpartition(")")[2].split()[0] == "T" for thread in threads)


def _is_free(file: str) -> bool:
    """Whether nobody writes to this database just now."""
    with contextlib.closing(sqlite3.connect(file, timeout=0.3, isolation_level=None)) as database:
        try:
            database.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        return True
