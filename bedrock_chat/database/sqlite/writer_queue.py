"""Who may write: one thread of this process at a time, first come, first served.

SQLite has one lock for all writers, and no queue at it: whoever finds it taken sleeps for up to 100 ms and tries again.
Threads of one process queue here instead, and wake each other at once. Processes still meet at SQLite's own lock.
"""

import logging
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.db.utils import OperationalError

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""How often a waiting thread looks whether the one that writes is still alive."""


@dataclass(slots=True, eq=False)
class _Waiter:
    thread: threading.Thread
    turn: threading.Lock  # taken until this thread may write


class WriterQueue:
    def __init__(self, patience_seconds: float) -> None:
        self._patience_seconds = patience_seconds
        self._mutex = threading.Lock()
        self._waiters: deque[_Waiter] = deque()
        self._writer: threading.Thread | None = None
        self._since = 0.0  # on the monotonic clock

    def acquire(self) -> None:
        """Waits until this thread may write. Raises OperationalError, as SQLite does, if that takes too long."""
        thread = threading.current_thread()
        with self._mutex:
            if self._writer is None:
                self._let(thread)
                return
            waiter = _Waiter(thread, threading.Lock())
            waiter.turn.acquire()
            self._waiters.append(waiter)
        try:
            may_write = self._wait(waiter)
        except BaseException:  # a signal's: nobody else would end the turn of one who has gone
            self._leave(waiter)
            raise
        if not may_write:
            raise OperationalError("database is locked")

    def _wait(self, waiter: _Waiter) -> bool:
        """Returns whether the turn came in time."""
        patience_ends = time.monotonic() + self._patience_seconds
        while not waiter.turn.acquire(timeout=min(LOOK_SECONDS, self._patience_seconds)):
            self._pass_on_if_dead()
            if time.monotonic() >= patience_ends and self._give_up(waiter):
                return False
        return True

    def release(self) -> None:
        """Lets the next thread write."""
        with self._mutex:
            self._pass_on()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Inside the block, this thread is the one that may write."""
        self.acquire()
        try:
            yield
        finally:
            self.release()

    def is_mine(self) -> bool:
        """Whether this thread may write now."""
        return self._writer is threading.current_thread()

    def _let(self, thread: threading.Thread) -> None:
        self._writer, self._since = thread, time.monotonic()

    def _pass_on(self) -> None:
        if self._waiters:
            waiter = self._waiters.popleft()
            self._let(waiter.thread)
            waiter.turn.release()
        else:
            self._writer = None

    def _pass_on_if_dead(self) -> None:
        """Whoever writes next rolls back what a dead thread has left open: the connection says so."""
        with self._mutex:
            writer = self._writer
            if writer is None or writer.is_alive():
                return
            self._pass_on()
        logger.error("Thread %s ended in the middle of a transaction, which is rolled back.", writer.name)

    def _leave(self, waiter: _Waiter) -> None:
        """Waits no longer, and passes the turn on if it has come meanwhile."""
        with self._mutex:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            elif self._writer is waiter.thread:
                self._pass_on()

    def _give_up(self, waiter: _Waiter) -> bool:
        """Gives up waiting, and logs what the writing thread does. Returns False if it is this one's turn by now."""
        with self._mutex:
            if waiter not in self._waiters:
                return False
            self._waiters.remove(waiter)
            writer, seconds = self._writer, time.monotonic() - self._since
        if writer is not None:
            frame = sys._current_frames().get(writer.ident or 0)
            stack = "".join(traceback.format_stack(frame)) if frame is not None else ""
            logger.error("Thread %s has held up all writers for %.0f s:\n%s", writer.name, seconds, stack)
        return True
