"""The threads that requests run on."""

import asyncio
import contextvars
import functools
import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeVar

from django.conf import settings

from bedrock_chat.database.connections import release_connection

logger = logging.getLogger(__name__)

Task = Callable[[], object]
Made = TypeVar("Made")


class ThreadPool:
    """Persistent threads, made on demand up to a limit and kept after a peak.

    The one that rested last works first: under light load a few warm threads, with open SQLite connections and their
    page caches, do everything, where the standard library's executor would wake each of hundreds in turn.
    """

    def __init__(self, limit: int, name: str = "request") -> None:
        self._limit = limit
        self._name = name
        self._lock = threading.Lock()
        self._resting: list[SimpleQueue[Task | None]] = []  # each thread sleeps on an inbox of its own
        self._waiting: deque[Task] = deque()
        self._count = 0
        self._stopped = False

    @property
    def count(self) -> int:
        """Threads alive."""
        return self._count

    @property
    def busy(self) -> int:
        """Threads at work just now."""
        with self._lock:
            return self._count - len(self._resting)

    def submit(self, job: Task) -> None:
        """Run `job` on a thread: a resting one, else a new one, else, at the limit, the first to become free."""
        with self._lock:
            if self._resting:
                self._resting.pop().put(job)
            elif self._count < self._limit:
                self._grow(job)
            else:
                self._waiting.append(job)

    async def run(self, work: Callable[[], Made]) -> Made:
        """Run `work` on a thread and await what it gives or raises. It lets go of its database connection."""

        def work_and_release() -> Made:
            try:
                return work()
            finally:
                release_connection()

        return await awaited(self.submit, work_and_release, contextvars.copy_context())

    def stop(self) -> None:
        """Let every thread end once nothing is left to do. Does not wait for them; late jobs are still done."""
        with self._lock:
            self._stopped = True
            self._count -= len(self._resting)
            while self._resting:
                self._resting.pop().put(None)

    def _grow(self, job: Task) -> None:
        thread = threading.Thread(target=self._work, args=(job,), name=f"{self._name}-{self._count + 1}", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # The system's own limit came before ours. Those we have will get to it.
            if not self._count:
                raise
            logger.warning("The system refuses more than %d threads: requests wait for one.", self._count)
            self._waiting.append(job)
        else:
            self._count += 1

    def _work(self, first: Task) -> None:
        inbox: SimpleQueue[Task | None] = SimpleQueue()
        job: Task | None = first
        del first
        try:
            while job is not None:
                try:
                    job()
                except (
                    BaseException
                ):  # SystemExit too: it would end this thread alone, unnoticed, and one fewer is left
                    logger.exception("A job failed on a request thread.")
                job = None  # a resting thread must not keep its last request alive
                job = self._next(inbox)
        finally:
            release_connection(final=True)

    def _next(self, inbox: "SimpleQueue[Task | None]") -> Task | None:
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            if self._stopped:
                self._count -= 1
                return None
            self._resting.append(inbox)
        return inbox.get()


@functools.cache
def shared() -> ThreadPool:
    """The threads of this process: requests work on them, and turns run on them to their end."""
    return ThreadPool(settings.THREADS)


async def awaited(submit: Callable[[Task], object], work: Callable[[], Made], context: contextvars.Context) -> Made:
    """Await what `work` gives or raises on the thread that `submit` finds for it."""
    done: Future[Made] = Future()

    def job() -> None:
        try:
            done.set_result(context.run(work))
        except BaseException as error:  # noqa: BLE001  it is raised again where it is awaited
            done.set_exception(error)

    done.set_running_or_notify_cancel()
    submit(job)
    return await asyncio.wrap_future(done)
