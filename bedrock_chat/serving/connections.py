"""All client connections of a process: how many there may be, and which one gives way to a new one."""

import logging
import time
from collections.abc import Callable
from typing import Protocol

from bedrock_chat.metrics import refusals
from bedrock_chat.metrics.instruments import Counter, Gauge

logger = logging.getLogger(__name__)

RESERVE = 64
"""Connections beyond the limit. They may only ask whether the process is healthy and ready."""
HEADLESS_SECONDS = 1.0
"""How long a new connection may take over its request's head before it gives way to others."""
NOTICE_SECONDS = 10.0


OPEN = Gauge("bedrock_chat_connections_open", "Connections of clients, WebSockets included.")
EVICTED = Counter("bedrock_chat_connections_evicted_total", "Idle or silent connections that gave way to new ones.")


class Transport(Protocol):
    """A connection's socket, as asyncio has it."""

    def abort(self) -> None:
        """Close it at once."""


class Connections:
    """Knows the transport of every connection and what it is doing. To be used on the event loop alone.

    A connection is *headless* until the head of its request is whole, and a WebSocket until a token is verified; then
    *busy* until the response is sent, then *idle* until the first byte of the next request makes it headless again.
    Dictionaries keep the order of insertion, so the first of `_headless` and of `_idle` is the one that has been so for
    longest.
    """

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self._clock = clock
        self._all: set[Transport] = set()
        self._headless: dict[Transport, float] = {}
        self._idle: dict[Transport, None] = {}
        self.evictions = Notice("CONNECTIONS=%d are open; idle or silent ones that gave way to new ones: %d.", clock)
        self.refusals = Notice("CONNECTIONS=%d are open and busy; new ones that were refused: %d.", clock)
        self.slow_heads = Notice("Connections that were closed for a request head later than %g s: %d.", clock)

    def __len__(self) -> int:
        return len(self._all)

    def open(self, transport: Transport) -> bool:
        """Take a new connection in; at the limit, another one gives way. Returns False where even the reserve is
        full: the connection is not taken in, and has to be closed.
        """
        while len(self._all) >= self.limit and self._evict_one():
            pass
        if len(self._all) >= self.limit + RESERVE:
            self.refuse()
            return False
        self._all.add(transport)
        self._headless[transport] = self._clock()
        return True

    def refuse(self) -> None:
        """One more was refused."""
        refusals.count("connections")
        self.refusals.count(self.limit)

    def is_full(self) -> bool:
        """Whether the connections in the reserve are in use."""
        return len(self._all) > self.limit

    def await_head(self, transport: Transport) -> None:
        self._idle.pop(transport, None)
        self._headless[transport] = self._clock()

    def begin(self, transport: Transport) -> None:
        """The head of a request is whole."""
        self._headless.pop(transport, None)
        self._idle.pop(transport, None)

    def rest(self, transport: Transport) -> None:
        """The response is sent, and the connection waits for the next request."""
        if transport in self._all:
            self._headless.pop(transport, None)
            self._idle[transport] = None

    def close(self, transport: Transport) -> None:
        self._all.discard(transport)
        self._headless.pop(transport, None)
        self._idle.pop(transport, None)

    def _evict_one(self) -> bool:
        """Close the connection that has been idle for longest, else the one that has been headless for longest, if that
        is long enough. Returns whether there was one.
        """
        transport = next(iter(self._idle), None)
        if transport is None:
            transport, since = next(iter(self._headless.items()), (None, 0.0))
            if transport is None or self._clock() - since < HEADLESS_SECONDS:
                return False
        self.close(transport)
        transport.abort()
        EVICTED.add()
        self.evictions.count(self.limit)
        return True


class Notice:
    """A warning that an attacker cannot fill the log with: at most one in NOTICE_SECONDS, with the number of cases
    since the last one.
    """

    def __init__(self, message: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._message = message
        self._clock = clock
        self._cases = 0
        self._next = 0.0

    def count(self, *arguments: object) -> None:
        """Count one case. The message takes the arguments, then the number of cases."""
        self._cases += 1
        if self._clock() >= self._next:
            logger.warning(self._message, *arguments, self._cases)
            self._cases, self._next = 0, self._clock() + NOTICE_SECONDS
