"""The log of a turn: one thread appends events, and any number of listeners follow, each at its own pace.

A listener is an offset into the log and nothing else. One that falls behind gets in one batch what it has missed. So a
slow or vanished client costs neither memory nor the others' time: the log is as long as its answer, whoever reads it.
"""

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field

from conversations.streaming.events import StreamEvent, is_last

Batch = tuple[int, list[StreamEvent]]
"""The position of the first event, and the events. Without events: nothing came for a while."""

NOWHERE = -1
"""The position of events that have none in a log, such as those of a replayed answer."""

LARGEST_BATCH = 2_000


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a client listens to: the events of one attempt at a question. `headers` are fields of the response."""

    attempt: int
    batches: AsyncGenerator[Batch, None]
    headers: Mapping[str, str] = field(default_factory=dict)


class Log:
    """An append-only list of events, which its last event ends. The appending thread calls `publish` after each one.

    `attempt` is that of the turn, known before the first event. With `goes_on`, the turn does not end with its process:
    another one makes a further attempt, and has a log of its own.
    """

    def __init__(self, *, goes_on: bool = False) -> None:
        self.attempt = 0
        self.goes_on = goes_on
        self.events: list[StreamEvent] = []
        self.ended = False
        self.publish: Callable[[Log], object] | None = None
        self._lock = threading.Lock()
        self._waiting: dict[asyncio.Future[None], asyncio.AbstractEventLoop] = {}

    def append(self, event: StreamEvent) -> None:
        """Adds an event and wakes the waiting listeners, each at most once until it has read.

        Does nothing once the log has ended.
        """
        with self._lock:
            if self.ended:
                return
            self.events.append(event)
            if is_last(event):
                self.ended = True
            waiting = self._waiting
            if waiting:
                self._waiting = {}
        for woken, loop in waiting.items():
            with contextlib.suppress(RuntimeError):  # the loop has ended, and its listeners with it
                loop.call_soon_threadsafe(_wake, woken)
        if self.publish is not None:
            self.publish(self)

    async def follow(self, offset: int = 0, *, quiet_seconds: float = 15.0) -> AsyncGenerator[Batch, None]:
        """Yields the events after `offset` until the log ends; an empty batch after `quiet_seconds` without events."""
        loop = asyncio.get_running_loop()
        while True:
            ended = self.ended  # read before the events, so that none is missed once it is true
            batch = self.events[offset : offset + LARGEST_BATCH]
            if batch:
                yield offset, batch
                offset += len(batch)
            elif ended:
                return
            elif not await self._more(loop, offset, quiet_seconds):
                yield offset, []

    async def _more(self, loop: asyncio.AbstractEventLoop, offset: int, seconds: float) -> bool:
        """Waits until there is more after `offset`, or the log has ended. Returns False if neither happened in time."""
        woken: asyncio.Future[None] = loop.create_future()
        with self._lock:
            if len(self.events) > offset or self.ended:
                return True
            self._waiting[woken] = loop
        timer = loop.call_later(seconds, _wake, woken)
        try:
            await woken
        finally:
            timer.cancel()
            with self._lock:
                timed_out = self._waiting.pop(woken, None) is not None
        return not timed_out


async def once(events: list[StreamEvent]) -> AsyncGenerator[Batch, None]:
    """Yields events that have all happened already, as one batch."""
    yield NOWHERE, events


def _wake(woken: "asyncio.Future[None]") -> None:
    if not woken.done():
        woken.set_result(None)
