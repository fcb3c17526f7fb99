"""How many calls for vectors a process makes at once: a few, and one for a while after Bedrock has throttled one."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bedrock_chat.bedrock import faults
from bedrock_chat.process.interruption import Interruption


class NoPlace(Exception):
    """Bedrock was not asked. `fault` is what the call ends with: Throttled, or TimedOut where all places are taken."""

    def __init__(self, fault: faults.ModelFault) -> None:
        self.fault = fault
        super().__init__(fault.code)


class Places:
    """`most` places, of which one is open for `calm_seconds` after a throttle. Urgent calls go before the others."""

    def __init__(self, most: int, calm_seconds: float) -> None:
        self._most = most
        self._calm_seconds = calm_seconds
        self._changed = threading.Condition()
        self._taken = 0
        self._urgent = 0
        self._calm_until = 0.0
        self._not_before = 0.0
        self._throttle: faults.Throttled | None = None

    @contextmanager
    def one(self, interruption: Interruption, *, until: float, deadline: float, is_urgent: bool) -> Iterator[None]:
        """Around a call. Waits for a place until `deadline`, a moment of `time.monotonic`.

        Raises Interrupted, and NoPlace: at once where Bedrock has asked for no call before `until`, else at the
        deadline.
        """
        with interruption.ending(self._wake):
            self._take(interruption, until, deadline, is_urgent=is_urgent)
        try:
            yield
        finally:
            with self._changed:
                self._taken -= 1
                self._changed.notify_all()

    def throttled(self, fault: faults.Throttled) -> None:
        """Bedrock has throttled a call, and perhaps said when the next one may come."""
        now = time.monotonic()
        with self._changed:
            self._calm_until = now + self._calm_seconds
            self._not_before = max(self._not_before, now + (fault.retry_after or 0.0))
            self._throttle = fault

    def forget(self) -> None:
        """For tests: nothing has been throttled."""
        with self._changed:
            self._calm_until = self._not_before = 0.0
            self._throttle = None
            self._changed.notify_all()

    def _take(self, interruption: Interruption, until: float, deadline: float, *, is_urgent: bool) -> None:
        with self._changed:
            self._urgent += is_urgent
            try:
                while (seconds := self._seconds_to_wait(is_urgent=is_urgent)) > 0:
                    interruption.check()
                    now = time.monotonic()
                    if now >= deadline or self._not_before > max(until, now):
                        raise self._refusal(now)
                    self._changed.wait(min(seconds, deadline - now))
                interruption.check()
                self._taken += 1
            finally:
                self._urgent -= is_urgent
                self._changed.notify_all()

    def _seconds_to_wait(self, *, is_urgent: bool) -> float:
        """0 where there is a place now; else when to look again at the latest."""
        now = time.monotonic()
        if now < self._not_before:
            return self._not_before - now
        is_calm = now < self._calm_until
        if self._taken < (1 if is_calm else self._most) and (is_urgent or not self._urgent):
            return 0.0
        return self._calm_until - now if is_calm else threading.TIMEOUT_MAX

    def _refusal(self, now: float) -> NoPlace:
        if self._throttle is not None and now < max(self._calm_until, self._not_before):
            seconds = max(0.0, self._not_before - now) or None
            return NoPlace(faults.Throttled(code=self._throttle.code, retry_after=seconds))
        return NoPlace(faults.TimedOut(code="TotalTimeout"))

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()
