"""What each server behind tools can take: so many calls at once in a process, and none for a while when it is away."""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from bots.tools.tool import STOPPED, Context, ToolFault

MOST_AT_ONCE: Final = 16
WAIT_SECONDS: Final = 2.0
"""How long a call waits for one of the places."""
FAILURES: Final = 3
"""So many time-outs or refused connections in a row, and a server is left alone."""
FIRST_REST: Final = 30.0
LONGEST_REST: Final = 300.0
"""Seconds. A rest is twice as long as the one before it, if the trial between them failed."""
MOST_SERVERS: Final = 10_000
"""Servers of whom something is remembered. Those that are idle and well are forgotten anyhow."""
STEP_SECONDS: Final = 0.05

BUSY: Final = "The tool is busy: too many calls at once. Try again later."
RESTING: Final = "The tool's server does not answer; it is not called for a while. Try again later."


@dataclass(slots=True)
class _Server:
    """`rests_until` is a moment of `time.monotonic()`. After it `is_tried` is True while one call tries."""

    running: int = 0
    waiting: int = 0
    failures: int = 0
    rest: float = 0.0
    rests_until: float = 0.0
    is_tried: bool = False

    @property
    def is_idle(self) -> bool:
        return not (self.running or self.waiting or self.failures or self.rest)


@dataclass(slots=True)
class Places:
    """Of all servers that this process calls."""

    _servers: dict[str, _Server] = field(default_factory=dict)
    _freed: threading.Condition = field(default_factory=threading.Condition)

    @contextlib.contextmanager
    def place(self, server: str, context: Context) -> Iterator[None]:
        """Inside the `with` block, the call has one of the server's places.

        Raises ToolFault: where no place gets free in WAIT_SECONDS, where the server rests, where the call was ended
        while it waited. A ToolFault that is raised inside counts as the server's failure if it says so.
        """
        is_trial = self._take(server, context)
        failed: bool | None = None
        try:
            yield
            failed = False
        except ToolFault as fault:
            # A stop tells nothing about the server.
            failed = None if fault.outcome == "stopped" else fault.counts
            raise
        finally:
            self._give_back(server, failed=failed, is_trial=is_trial)

    def resting(self) -> list[str]:
        """The servers that are not called just now."""
        now = time.monotonic()
        with self._freed:
            return [name for name, server in self._servers.items() if server.rests_until > now]

    def _take(self, name: str, context: Context) -> bool:
        """Takes a place. Returns whether the call is the one that tries whether the server is back."""
        until = min(time.monotonic() + WAIT_SECONDS, context.deadline)
        with self._freed:
            server = self._servers.setdefault(name, _Server())
            server.waiting += 1
            try:
                while True:
                    if context.interruption.requested:
                        raise stopped()
                    now = time.monotonic()
                    if server.rest and (now < server.rests_until or server.is_tried):
                        raise ToolFault(RESTING, "unreachable")
                    if server.running < MOST_AT_ONCE:
                        server.running += 1
                        server.is_tried = bool(server.rest)
                        return server.is_tried
                    if now >= until:
                        raise ToolFault(BUSY, "busy")
                    self._freed.wait(min(until - now, STEP_SECONDS))
            finally:
                server.waiting -= 1
                self._forget(name)

    def _give_back(self, name: str, *, failed: bool | None, is_trial: bool) -> None:
        with self._freed:
            server = self._servers[name]
            server.running -= 1
            if is_trial:
                server.is_tried = False
            if failed is False:
                server.failures, server.rest, server.rests_until = 0, 0.0, 0.0
            elif failed:
                server.failures += 1
                # Calls that began before a rest and fail during it make it no longer.
                if is_trial or (server.failures >= FAILURES and not server.rest):
                    server.rest = min(server.rest * 2, LONGEST_REST) if server.rest else FIRST_REST
                    server.rests_until = time.monotonic() + server.rest
            self._forget(name)
            self._freed.notify_all()

    def _forget(self, name: str) -> None:
        if self._servers[name].is_idle:
            del self._servers[name]
        elif len(self._servers) > MOST_SERVERS:
            now = time.monotonic()
            for other, server in list(self._servers.items()):
                if not (server.running or server.waiting) and server.rests_until <= now:
                    del self._servers[other]


def stopped() -> ToolFault:
    return ToolFault(STOPPED, "stopped")


_places = Places()
place = _places.place
resting = _places.resting
