"""Several documents at a time: what waits or computes goes to threads, and the database stays with one.

A work is a generator. It runs on the thread that owns the lanes, which may ask the database, and yields functions that
must not: each is called on a thread of the lanes, and what it returns or raises comes back at the `yield`. One that
needs the database in the middle asks the owner's thread (`Lanes.ask`).
"""

import threading
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Any, Final, TypeVar

from bedrock_chat.database.connections import release_connection
from bedrock_chat.process.interruption import Interrupted

AT_ONCE: Final = 4

Answer = TypeVar("Answer")
Errand = Callable[[], Any]
Work = Generator[Errand, Any, None]


class Lanes:
    """At most AT_ONCE works. One that raises ends the call of `step` with its error; the others stay as they are."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="knowledge")
        self._works: dict[Future[Any], Work] = {}
        self._lock = threading.Lock()
        self._questions: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._bell = Future[None]()
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._works)

    @property
    def has_room(self) -> bool:
        return len(self._works) < AT_ONCE

    def begin(self, work: Work) -> None:
        """Runs a work up to its first errand."""
        self._go_on(work, lambda: next(work))

    def step(self, seconds: float) -> None:
        """Waits until an errand is done or asks something, so many seconds at most. Runs its work up to the next one.

        No connection is held meanwhile.
        """
        release_connection()
        done, _ = wait([*self._works, self._bell], timeout=seconds, return_when=FIRST_COMPLETED)
        self._answer()
        for future in done & self._works.keys():
            work = self._works.pop(future)
            error = future.exception()
            if error is None:
                self._go_on(work, lambda: work.send(future.result()))  # noqa: B023  called at once
            else:
                self._go_on(work, lambda: work.throw(error))  # noqa: B023

    def ask(self, question: Callable[[], Answer]) -> Answer:
        """For errands: has the thread that owns the lanes call this, at its next step, and returns what that returns.

        Raises Interrupted where the question does, or cannot be answered any more.
        """
        answer = Future[Answer]()
        with self._lock:
            if self._is_closed:
                raise Interrupted
            self._questions.append((question, answer))
            if not self._bell.done():
                self._bell.set_result(None)
        return answer.result()

    def _answer(self) -> None:
        """Answers what errands have asked. An error is the owner's to bear, and ends what has asked."""
        while True:
            with self._lock:
                if not self._questions:
                    self._bell = Future[None]() if self._bell.done() else self._bell
                    return
                question, answer = self._questions.popleft()
            try:
                answer.set_result(question())
            except Interrupted as end:
                answer.set_exception(end)
            except BaseException:
                answer.set_exception(Interrupted())
                raise

    def close(self) -> None:
        """Ends all works where they wait, once their errands are over: they are interrupted.

        What one of them raises then is dropped, since the others have to end, too.
        """
        with self._lock:
            self._is_closed = True
        while self._questions:
            self._questions.popleft()[1].set_exception(Interrupted())
        self._threads.shutdown(wait=True, cancel_futures=True)
        for work in self._works.values():
            with suppress(StopIteration, Exception):
                work.throw(Interrupted())
            work.close()
        self._works.clear()

    def _go_on(self, work: Work, resume: Callable[[], Errand]) -> None:
        try:
            errand = resume()
        except StopIteration:
            return
        self._works[self._threads.submit(errand)] = work
