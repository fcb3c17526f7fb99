"""Ends a call to another machine from another thread, whatever the call waits for.

Who waits registers how its wait is ended (`ending`): a connection is shut down, a thread's work is abandoned. A turn
has one switch, and each of its calls one inside it: the turn's ends them all, a call's own ends that call alone.
"""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from bedrock_chat.resilience.deadlines import Errand

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

_this_thread = threading.local()


class Interrupted(Exception):
    """The call was ended. To whom it was sent, if it was, may be at work."""


class Interruption:
    """A switch that ends calls. It stays on: a later call with the same switch ends before it begins.

    `was_sent` is True once a request was sent: a model may be at work, and its work is paid. `expired` is True if the
    call was ended because it took too long.
    """

    def __init__(self) -> None:
        self.was_sent = False
        self.expired = False
        self._requested = threading.Event()
        # Held while calls are ended, so that none is ended after it is over. The collection of garbage may close a
        # connection, which takes its ending back, on the thread that holds it.
        self._lock = threading.RLock()
        self._endings: list[Callable[[], object]] = []

    @property
    def requested(self) -> bool:
        return self._requested.is_set()

    def wait(self, seconds: float) -> bool:
        """Sleeps so many seconds, or until the switch is on. Returns whether the switch is on."""
        return self._requested.wait(seconds)

    def check(self) -> None:
        """Raises Interrupted if the switch is on."""
        if self.requested:
            raise Interrupted

    def request(self) -> None:
        """Turns the switch on and ends the calls. Their threads get the error that their sockets raise then."""
        self._requested.set()
        with self._lock:
            for end in tuple(self._endings):
                try:
                    if end in self._endings:
                        end()
                except Exception:
                    logger.exception("A call could not be interrupted.")

    def expire(self) -> None:
        """Ends the calls because they took too long."""
        self.expired = True
        self.request()

    # ---- What it ends ----------------------------------------------------------------------------------------------

    def add(self, end: Callable[[], object]) -> None:
        """From now on the switch calls `end`, which must not wait for anything.

        Raises Interrupted if the switch is already on; `end` is not called then.
        """
        with self._lock:
            self.check()
            self._endings.append(end)

    def remove(self, end: Callable[[], object]) -> None:
        """Takes `end` back; one that was never added is none. When this returns, it does not run and never will."""
        with self._lock, contextlib.suppress(ValueError):
            self._endings.remove(end)

    @contextlib.contextmanager
    def ending(self, end: Callable[[], object]) -> Iterator[None]:
        """Inside the block the switch calls `end`. Raises Interrupted before the block if the switch is already on."""
        self.add(end)
        try:
            yield
        finally:
            self.remove(end)

    @contextlib.contextmanager
    def inner(self) -> Iterator["Interruption"]:
        """A switch for one of several calls. This one turns it on too, as long as the block lasts."""
        inner = Interruption()

        def end() -> None:
            inner.expired = self.expired
            inner.request()

        try:
            self.add(end)
        except Interrupted:
            end()
        try:
            yield inner
        finally:
            self.remove(end)

    def result(self, errand: Errand[Result], seconds: float) -> Result:
        """The result of work on another thread, or its error. Raises TimeoutError after so many seconds.

        Raises Interrupted if the switch is on. The work is abandoned in both cases, and ends by itself.
        """
        try:
            with self.ending(errand.abandon):
                return errand.result(seconds)
        except Interrupted:
            errand.abandon()
            raise
        except TimeoutError:
            self.check()
            raise

    @contextlib.contextmanager
    def of_this_thread(self) -> Iterator[None]:
        """Inside the `with` block, this switch ends the calls that this thread sends."""
        outer = current()
        _this_thread.interruption = self
        try:
            yield
        finally:
            _this_thread.interruption = outer


def current() -> Interruption | None:
    """The switch that ends what this thread sends, if there is one."""
    interruption: Interruption | None = getattr(_this_thread, "interruption", None)
    return interruption
