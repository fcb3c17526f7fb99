"""Bounds in total on waiting for another machine.

A socket's own time-out is for one read, so a peer that sends a byte now and then never meets it. A connection's
time-out is for one address of a host that has many, and resolving the host's name has none at all. So:

- `hang_up_after` has a thread break the connection while the caller still reads from it.
- `within` does the work on a thread of its own, and stops waiting for it.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


# ---- Hanging up -----------------------------------------------------------------------------------------------------


class _Deadline:
    """One block of `hang_up_after`. `due` is on the monotonic clock."""

    __slots__ = ("_hang_up", "_lock", "_over", "due")

    def __init__(self, due: float, hang_up: Callable[[], object]) -> None:
        self.due = due
        self._hang_up = hang_up
        # The collection of garbage may end the block of an abandoned generator on the thread that meets its deadline.
        self._lock = threading.RLock()
        self._over = False

    def meet(self) -> None:
        """The time is up: hang up, unless the block has ended meanwhile."""
        with self._lock:
            if self._over:
                return
            self._over = True
            try:
                self._hang_up()
            except Exception:
                logger.exception("A connection that took too long could not be broken.")

    def end(self) -> None:
        """The block has ended. Waits for `hang_up` if it runs just now: the connection may serve another call next."""
        with self._lock:
            self._over = True


class _Watch:
    """The one thread that meets the deadlines of this process. It is started with the first of them."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._deadlines: set[_Deadline] = set()
        self._wakes_at = 0.0
        self._thread: threading.Thread | None = None

    def add(self, deadline: _Deadline) -> None:
        with self._changed:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="deadlines", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # the system has no thread to give: this call goes without a deadline
                    return
                self._thread = thread
            self._deadlines.add(deadline)
            if deadline.due < self._wakes_at:
                self._changed.notify()

    def remove(self, deadline: _Deadline) -> None:
        with self._changed:
            self._deadlines.discard(deadline)
        deadline.end()

    def _run(self) -> None:
        while True:
            with self._changed:
                now = time.monotonic()
                deadlines = self._deadlines.copy()  # the collection of garbage may remove one in the midst of this
                due = [deadline for deadline in deadlines if deadline.due <= now]
                self._deadlines.difference_update(due)
                if not due:
                    # A deadline that is removed wakes nobody: the thread then finds nothing to do once.
                    self._wakes_at = min((deadline.due for deadline in deadlines), default=float("inf"))
                    self._changed.wait(None if self._wakes_at == float("inf") else self._wakes_at - now)
            for deadline in due:
                deadline.meet()


_watch = _Watch()


@contextmanager
def hang_up_after(seconds: float, hang_up: Callable[[], object]) -> Iterator[None]:
    """Calls `hang_up` from another thread if the block is not over after so many seconds.

    `hang_up` must not wait for anything. It is never called once the block has ended.
    """
    deadline = _Deadline(time.monotonic() + seconds, hang_up)
    _watch.add(deadline)
    try:
        yield
    finally:
        _watch.remove(deadline)


# ---- No longer waiting ----------------------------------------------------------------------------------------------


MOST_ERRANDS = 512
_places = threading.BoundedSemaphore(MOST_ERRANDS)


class Errand(Generic[Result]):
    """Work on a thread of its own, which one other thread waits for.

    The result of work that nobody waits for any more goes to `discard`, and its error to nobody. Beyond MOST_ERRANDS at
    a time, as when no host name is resolved any more, an errand is not begun and counts as one without an answer.
    """

    def __init__(self, work: Callable[[], Result], discard: Callable[[Result], object] | None = None) -> None:
        self._work = work
        self._discard = discard
        self._changed = threading.Condition()
        self._result: Result | None = None
        self._error: BaseException | None = None
        self._done = False
        self._places = _places
        self._abandoned = not self._places.acquire(blocking=False)
        if self._abandoned:
            return
        try:
            threading.Thread(target=self._run, name="errand", daemon=True).start()
        except RuntimeError:  # the system has no thread to give
            self._abandoned = True
            self._places.release()

    def result(self, seconds: float) -> Result:
        """Waits for the result or the error. Raises TimeoutError after so many seconds, or when abandoned."""
        with self._changed:
            self._changed.wait_for(lambda: self._done or self._abandoned, timeout=seconds)
            if not self._done:
                self._abandoned = True
                raise TimeoutError("There was no answer in time.")
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # its traceback holds this frame
        return self._result  # type: ignore[return-value]  # it is there: the work is done, and raised nothing

    def abandon(self) -> None:
        """Ends the wait of the other thread, from any thread."""
        with self._changed:
            self._abandoned = True
            self._changed.notify()

    def _run(self) -> None:
        result: Result | None = None
        error: BaseException | None = None
        try:
            result = self._work()
        except BaseException as raised:  # noqa: BLE001  it is raised again where it is waited for
            error = raised
        finally:
            self._places.release()
        with self._changed:
            if not self._abandoned:
                self._result, self._error, self._done = result, error, True
                self._changed.notify()
                return
        if error is None and self._discard is not None:
            try:
                self._discard(result)  # type: ignore[arg-type]
            except Exception:
                logger.exception("What came too late could not be discarded.")


def within(seconds: float, work: Callable[[], Result], *, discard: Callable[[Result], object] | None = None) -> Result:
    """The result of `work`, or its error. Raises TimeoutError after so many seconds.

    The work then goes on by itself, so it must end some time; its result is given to `discard`.
    """
    return Errand(work, discard).result(seconds)
