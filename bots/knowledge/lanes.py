"""Several documents at a time: what waits or computes goes to threads, and the database stays with one.

A work is a generator. It runs on the thread that owns the lanes, which may ask the database, and yields functions that
must not: each is called on a thread of the lanes, and what it returns or raises comes back at the `yield`.
"""

from collections.abc import Callable, Generator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Any, Final

from bedrock_chat.database.connections import release_connection
from bedrock_chat.process.interruption import Interrupted

AT_ONCE: Final = 4

Errand = Callable[[], Any]
Work = Generator[Errand, Any, None]


class Lanes:
    """At most AT_ONCE works. One that raises ends the call of `step` with its error; the others stay as they are."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="knowledge")
        self._works: dict[Future[Any], Work] = {}

    def __len__(self) -> int:
        return len(self._works)

    @property
    def has_room(self) -> bool:
        return len(self._works) < AT_ONCE

    def begin(self, work: Work) -> None:
        """Runs a work up to its first errand."""
        self._go_on(work, lambda: next(work))

    def step(self, seconds: float) -> None:
        """Waits until an errand is done, so many seconds at most, and runs its work up to the next one.

        No connection is held meanwhile.
        """
        release_connection()
        done, _ = wait(self._works, timeout=seconds, return_when=FIRST_COMPLETED)
        for future in done:
            work = self._works.pop(future)
            error = future.exception()
            if error is None:
                self._go_on(work, lambda: work.send(future.result()))  # noqa: B023  called at once
            else:
                self._go_on(work, lambda: work.throw(error))  # noqa: B023

    def close(self) -> None:
        """Ends all works where they wait, once their errands are over: they are interrupted.

        What one of them raises then is dropped, since the others have to end, too.
        """
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
