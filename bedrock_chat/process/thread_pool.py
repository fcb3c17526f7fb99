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
Result = TypeVar("Result")


class ThreadPool:
    """Persistent threads, made on demand up to a limit and kept after a peak.

    The thread that became idle last works first. So under light load a few warm threads, with open SQLite connections
    and their page caches, do everything. The standard library's executor would wake hundreds of threads in turn.
    """

    def __init__(self, limit: int, name: str = "request") -> None:
        self._limit = limit
        self._name = name
        self._lock = threading.Lock()
        self._idle: list[SimpleQueue[Task | None]] = []  # each thread sleeps on an inbox of its own
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
            return self._count - len(self._idle)

    def submit(self, task: Task) -> None:
        """Run `task` on a thread: an idle one, else a new one, else, at the limit, the first to become free."""
        with self._lock:
            if self._idle:
                self._idle.pop().put(task)
            elif self._count < self._limit:
                self._grow(task)
            else:
                self._waiting.append(task)

    def submit_if_free(self, task: Task) -> bool:
        """Run `task` on a thread that is idle, or on a new one. Returns False where it would have to wait for one."""
        with self._lock:
            if self._idle:
                self._idle.pop().put(task)
                return True
            if self._count >= self._limit:
                return False
            try:
                self._start(task)
            except RuntimeError:  # the system has no thread to give
                return False
        return True

    async def run(self, work: Callable[[], Result]) -> Result:
        """Run `work` on a thread, release that thread's database connection, and await the result or the error."""

        def work_and_release() -> Result:
            try:
                return work()
            finally:
                release_connection()

        return await awaited(self.submit, work_and_release, contextvars.copy_context())

    def stop(self) -> None:
        """Let every thread end once nothing is left to do. Does not wait for them; late tasks are still done."""
        with self._lock:
            self._stopped = True
            self._count -= len(self._idle)
            while self._idle:
                self._idle.pop().put(None)

    def _start(self, task: Task) -> None:
        """Starts a thread. Raises RuntimeError if the system refuses it."""
        thread = threading.Thread(target=self._work, args=(task,), name=f"{self._name}-{self._count + 1}", daemon=True)
        thread.start()
        self._count += 1

    def _grow(self, task: Task) -> None:
        try:
            self._start(task)
        except RuntimeError:
            # The system allows fewer threads than our limit. One of those that run will take the task.
            if not self._count:
                raise
            logger.warning("The system refuses more than %d threads: requests wait for one.", self._count)
            self._waiting.append(task)

    def _work(self, first: Task) -> None:
        """A thread's life: run tasks until there are none after `stop`, then close its database connection."""
        inbox: SimpleQueue[Task | None] = SimpleQueue()
        task: Task | None = first
        del first
        try:
            while task is not None:
                try:
                    task()
                except BaseException:  # SystemExit too: it would end this thread unnoticed, and leave one fewer
                    logger.exception("A job failed on a request thread.")
                task = None  # an idle thread must not keep its last request alive
                task = self._next(inbox)
        finally:
            release_connection(final=True)

    def _next(self, inbox: "SimpleQueue[Task | None]") -> Task | None:
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            if self._stopped:
                self._count -= 1
                return None
            self._idle.append(inbox)
        return inbox.get()


@functools.cache
def shared() -> ThreadPool:
    """The threads of this process: requests work on them, and turns run on them to their end."""
    return ThreadPool(settings.THREADS)


async def awaited(submit: Callable[[Task], object], work: Callable[[], Result], context: contextvars.Context) -> Result:
    """Run `work` in `context`, on a thread that `submit` chooses, and await its result or its error."""
    done: Future[Result] = Future()

    def task() -> None:
        try:
            done.set_result(context.run(work))
        except BaseException as error:  # noqa: BLE001  it is raised again where it is awaited
            done.set_exception(error)

    done.set_running_or_notify_cancel()
    submit(task)
    return await asyncio.wrap_future(done)
