"""Who reads a SQLite file for long. A reader keeps all of the write-ahead log that is newer than what it sees."""

import os
import threading
import time
import weakref
from pathlib import Path
from typing import Any

LOCKS = Path("/proc/locks")
FIRST_READ_LOCK, LAST_READ_LOCK = 123, 127
"""Bytes of the `-shm` file that readers lock, by SQLite's documentation of the WAL-index format."""

_open: weakref.WeakKeyDictionary[Any, tuple[str, float]] = weakref.WeakKeyDictionary()
"""Cursor of this process with rows to come → the name of its thread, and since when by the monotonic clock."""
_lock = threading.Lock()


def note(cursor: Any) -> None:
    """Notes that a cursor has rows to come."""
    with _lock:
        _open.setdefault(cursor, (threading.current_thread().name, time.monotonic()))


def forget(cursor: Any) -> None:
    with _lock:
        _open.pop(cursor, None)


def names_of_readers(database: Path) -> list[str]:
    """Processes that read just now, as Linux knows their locks, and the oldest open cursor of this one.

    `process 4711 (sqlite3 chat.sqlite3)`; `thread bridge-3 of this process, since 12 s`. Empty where neither is known.
    """
    processes = {pid for pid in _pids_of_read_locks(database.with_name(f"{database.name}-shm")) if pid != os.getpid()}
    names = [f"process {pid} ({_command(pid)})" for pid in sorted(processes)]
    with _lock:
        oldest = min(_open.values(), key=lambda cursor: cursor[1], default=None)
    if oldest is not None:
        thread, since = oldest
        names.append(f"thread {thread} of this process, since {time.monotonic() - since:.0f} s")
    return names


def _pids_of_read_locks(shm: Path) -> set[int]:
    """Lines of `/proc/locks` are like `1: POSIX  ADVISORY  READ  4711 fd:01:131 124 124`."""
    try:
        inode, lines = shm.stat().st_ino, LOCKS.read_text().splitlines()
    except OSError:  # another system than Linux
        return set()
    pids = set()
    for fields in map(str.split, lines):
        if len(fields) >= 8 and fields[3] == "READ" and fields[5].rpartition(":")[2] == str(inode):
            first, last = fields[6:8]
            if last != "EOF" and int(first) >= FIRST_READ_LOCK and int(last) <= LAST_READ_LOCK:
                pids.add(int(fields[4]))
    return pids


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()[:100]
    except OSError:
        return "it has ended meanwhile"
