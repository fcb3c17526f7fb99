"""Moves SQLite's write-ahead log into the database file, on a thread of its own, and keeps the log short.

By default the commit that makes the log longer than 1,000 pages does this itself, and its turn waits for the disk.

A checkpoint moves what no reader needs any more. When all of it is moved, and nobody reads the log just then, the next
commit begins the log anew. Under constant short readers that moment may never come. So beyond RESTART_BYTES the thread
keeps the writers out, waits for those who read the log, and has it begun anew. One who reads for long is named in the
application's log.
"""

import logging
import sqlite3
import threading
import time
from pathlib import Path

from bedrock_chat.database.sqlite.readers import names_of_readers
from bedrock_chat.database.sqlite.writer_queue import WriterQueue

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.25
SECONDS_BETWEEN = 1.0
"""Something was written: a checkpoint follows after this time, or at once beyond CHECKPOINT_BYTES."""
CHECKPOINT_BYTES = 8 * 1024 * 1024
RESTART_BYTES = 32 * 1024 * 1024
LARGEST_BYTES = 64 * 1024 * 1024
"""The file of the log is cut to this size when it was larger."""
RESTART_SECONDS = 1.0
"""How long writers may be kept out by one attempt to begin the log anew."""
PAUSE_SECONDS = 5.0
"""After a vain attempt there is a pause, and after each further one it is twice as long. After an error as well."""
LONGEST_PAUSE_SECONDS = 60.0
LONG_READ_SECONDS = 10.0


class Checkpointer:
    def __init__(self, database: Path, queue: WriterQueue) -> None:
        self._database, self._queue = database, queue
        self._log = database.with_name(f"{database.name}-wal")
        self._changed_at = 0  # the file's time of change when the last checkpoint was begun
        self._due = self._restart_due = 0.0  # on the monotonic clock
        self._pause = PAUSE_SECONDS  # after the next vain attempt
        self._connection: sqlite3.Connection | None = None
        self._held_up_since: float | None = None
        self._stopping = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name="checkpoints", daemon=True).start()

    def stop(self) -> None:
        self._stopping.set()

    def _run(self) -> None:
        pause = LOOK_SECONDS
        while not self._stopping.wait(pause):
            pause = LOOK_SECONDS
            try:
                self.look()
            except Exception:
                logger.exception("The write-ahead log could not be moved into the database; it is tried again.")
                self._forget_connection()
                pause = PAUSE_SECONDS  # a full disk stays full for a while, and each error is a traceback in the log

    def look(self) -> None:
        """Does what is due now."""
        try:
            status = self._log.stat()
        except FileNotFoundError:
            return
        now = time.monotonic()
        is_due = now >= self._due or status.st_size > CHECKPOINT_BYTES
        if status.st_mtime_ns == self._changed_at or not is_due:
            return
        self._due = now + SECONDS_BETWEEN
        pages, moved = self._checkpoint("PASSIVE")
        if pages < 0:  # another process does one just now
            return
        # All was moved: the next look waits for a change. Else there is a reader, and nothing else may change.
        self._changed_at = status.st_mtime_ns if moved >= pages else 0
        if pages * self._page_size() < RESTART_BYTES:
            self._is_held_up_no_more()
        elif now >= self._restart_due:
            self._restart(now)

    def _restart(self, now: float) -> None:
        """Has the log begun anew. Where a reader holds it up, that reader is named after a while."""
        with self._queue.turn():
            _, moved = self._checkpoint("RESTART")
        if moved >= 0:
            self._is_held_up_no_more()
            return
        self._restart_due = now + self._pause
        self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)
        self._held_up_since = self._held_up_since or now
        if now - self._held_up_since >= LONG_READ_SECONDS:
            names = "; ".join(names_of_readers(self._database)) or "a reader that cannot be named"
            size = self._log.stat().st_size // (1024 * 1024)
            logger.warning("The write-ahead log has grown to %d MB, since somebody reads for long: %s", size, names)

    def _is_held_up_no_more(self) -> None:
        self._held_up_since, self._pause = None, PAUSE_SECONDS

    def _checkpoint(self, mode: str) -> tuple[int, int]:
        """Returns the pages of the log and how many are moved; -1 for both if it had to be left."""
        if self._connection is None:
            self._connection = sqlite3.connect(
                self._database, timeout=RESTART_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA synchronous=NORMAL")
        busy, pages, moved = self._connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
        return (-1, -1) if busy else (pages, moved)

    def _page_size(self) -> int:
        assert self._connection is not None
        return int(self._connection.execute("PRAGMA page_size").fetchone()[0])

    def _forget_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
