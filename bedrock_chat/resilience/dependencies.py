"""What this process needs of others, and what it knows of them just now.

Whoever uses a dependency tells how it went (`failed`, `answered`); `/ready` reports it. Some dependencies have a probe:
while such a one is away it is left alone (`refuse_while_away`), so that not every request waits for it in vain, and one
thread asks it once a second until it answers again.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from enum import StrEnum
from typing import Any

from bedrock_chat.resilience.disk_space import is_out_of_space

logger = logging.getLogger(__name__)

PROBE_PAUSE_SECONDS = 1.0
LOG_SECONDS = 60.0  # of a dependency that is away for longer, the log tells once in so many seconds


class State(StrEnum):
    """What `/ready` says of a dependency: that it works, or the reason why it does not."""

    OK = "ok"
    NO_ANSWER = "no answer"
    REFUSED = "refused"
    FULL = "full"
    NOT_MIGRATED = "not migrated"
    FAILING = "failing"


class Away(Exception):
    """The dependency did not answer lately, and is left alone until it does."""


class Dependency:
    """Something outside of this process.

    `probe` asks it for a sign of life and raises whatever is wrong; it must end within a few seconds.
    """

    def __init__(self, name: str, probe: Callable[[], object] | None = None) -> None:
        self.name = name
        self._probe = probe
        self._lock = threading.Lock()
        self._state = State.OK
        self._away = False
        self._logged_at = float("-inf")

    @property
    def state(self) -> State:
        return self._state

    @property
    def is_away(self) -> bool:
        """Whether it is left alone just now. Always False without a probe: nobody would find out that it is back."""
        return self._away

    def refuse_while_away(self) -> None:
        """Raises Away."""
        if self._away:
            raise Away(f"{self.name} is away: {self._state}.")

    def answered(self) -> None:
        """It did what it was asked for. With a probe, the probe says so."""
        if self._state is not State.OK and not self._away:
            self._state = State.OK

    def failed(self, error: BaseException) -> None:
        """It did not answer, or it refused the connection. From now on it is away, if there is a probe."""
        with self._lock:
            self._state = reason(error)
            self._log(error)
            if self._away or self._probe is None:
                return
            try:
                threading.Thread(target=self._ask_until_it_answers, name=f"{self.name} probe", daemon=True).start()
            except RuntimeError:  # no thread can be started now: then everybody has to ask
                return
            self._away = True

    def _log(self, error: BaseException) -> None:
        if time.monotonic() >= self._logged_at + LOG_SECONDS:
            self._logged_at = time.monotonic()
            logger.warning("%s is away: %s (%s: %s)", self.name, self._state, type(error).__name__, error)

    def _ask_until_it_answers(self) -> None:
        assert self._probe is not None
        while True:
            try:
                self._probe()
            except Exception as error:  # noqa: BLE001  whatever it is, this thread must live
                with self._lock:
                    self._state = reason(error)
            else:
                break
            time.sleep(PROBE_PAUSE_SECONDS)
        with self._lock:
            self._away, self._state = False, State.OK
            self._logged_at = float("-inf")
        logger.warning("%s answers again.", self.name)


def reason(error: BaseException) -> State:
    """The reason in one word, from the words of an exception: each library has classes of its own."""
    words = f"{type(error).__name__} {error}".lower()
    if "not migrated" in words:
        return State.NOT_MIGRATED
    if "refused" in words:
        return State.REFUSED
    if is_out_of_space(error):
        return State.FULL
    if isinstance(error, TimeoutError) or any(mark in words for mark in ("timeout", "timed out", "no answer", "away")):
        return State.NO_ANSWER
    return State.FAILING


# ---- Asking for /ready ----------------------------------------------------------------------------------------------


class Check:
    """Asks a dependency on a thread of its own, however many requests want to know: at most one check is under way.

    A check that has run for `patience` seconds counts as no answer until it ends, so that a flood of requests does not
    wait for it one after the other. `work` must end some time.
    """

    def __init__(self, name: str, work: Callable[[], Any], *, patience: float) -> None:
        self._name = name
        self._work = work
        self._patience = patience
        self._lock = threading.Lock()
        self._running: Future[tuple[State, Any]] | None = None
        self._begun_at = 0.0
        self._logged = State.OK

    def begin(self) -> None:
        """Starts a check, unless one is under way."""
        with self._lock:
            if self._running is not None and not self._running.done():
                return
            running = self._running = Future()
            self._begun_at = time.monotonic()
            try:
                threading.Thread(target=self._run, args=(running,), name="readiness", daemon=True).start()
            except RuntimeError as error:  # no thread can be started now
                running.set_result((reason(error), None))

    def ask(self) -> tuple[State, Any]:
        """The outcome of the check that was begun last: the state, and what `work` returned (None unless it is OK)."""
        with self._lock:
            running, due = self._running, self._begun_at + self._patience
        if running is None:
            return State.OK, None
        try:
            return running.result(timeout=max(0.0, due - time.monotonic()))
        except TimeoutError:
            return State.NO_ANSWER, None

    def _run(self, running: "Future[tuple[State, Any]]") -> None:
        try:
            outcome: tuple[State, Any] = State.OK, self._work()
        except Exception as error:  # noqa: BLE001  whatever is wrong with it, somebody waits for the outcome
            outcome = reason(error), None
            self._log(outcome[0], f"{type(error).__name__}: {error}")
        else:
            self._log(State.OK, "it passed")
        running.set_result(outcome)

    def _log(self, state: State, words: str) -> None:
        """Once for each change: balancers ask every few seconds."""
        if state is not self._logged:
            self._logged = state
            logger.warning("The check of %s: %s (%s)", self._name, state, words)
