"""Requests that wait for something to happen, on the event loop: they hold no thread and no database connection."""

import asyncio
import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from django.conf import settings
from django.http import HttpRequest

from bedrock_chat.metrics.instruments import Gauge
from bedrock_chat.process import shutdown, watching
from bedrock_chat.process.watching import Topic
from bedrock_chat.serving.sending import ClientGone, Receive
from bedrock_chat.wire.requests import WAITED

WAIT = "bedrock_chat.wait"
"""The key of a request's META for the Wait that its view asks for."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Until one of the topics has happened, for so many seconds at most."""

    topics: tuple[Topic, ...]
    seconds: float


def ask(request: HttpRequest, topics: Iterable[Topic], seconds: float) -> None:
    """Has a request without a body wait. What the view responds is sent only where the request cannot wait.

    When one of the topics has happened, or the time is up, the view is called again with the request as it came.
    `has_waited` is true then, and asking again does nothing: what it responds is sent.
    """
    if not has_waited(request):
        request.META[WAIT] = Wait(tuple(topics), seconds)


def has_waited(request: HttpRequest) -> bool:
    """Whether this is the second call for a request. What a request costs its caller, the first one has counted."""
    return WAITED in request.META


class Waits:
    """The requests of this process that wait: WAITS at most, fewer where the server says so."""

    def __init__(self) -> None:
        self.most: int | None = None
        """What the connections of this process allow."""
        self._places = 0
        self._wakes: set[watching.Wake] = set()

    @contextlib.contextmanager
    def place(self) -> Iterator[bool]:
        """A place for one request, for the length of a block. Yields whether there was one."""
        most = settings.WAITS if self.most is None else min(self.most, settings.WAITS)
        is_free = self._places < most and not shutdown.draining()
        self._places += is_free
        try:
            yield is_free
        finally:
            self._places -= is_free

    async def over(self, wait: Wait, receive: Receive) -> None:
        """Returns when a wait is over: a topic has happened, the time is up, or the process is about to end.

        Raises ClientGone.
        """
        loop = asyncio.get_running_loop()
        woken: asyncio.Future[None] = loop.create_future()
        wake = partial(_wake, loop, woken)
        self._wakes.add(wake)
        watching.watch(wait.topics, wake)
        leaving = loop.create_task(_client_left(receive))
        try:
            if not shutdown.draining():
                await asyncio.wait((woken, leaving), timeout=wait.seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            watching.forget(wait.topics, wake)
            self._wakes.discard(wake)
            leaving.cancel()
            await asyncio.wait((leaving,))
        if not leaving.cancelled():
            raise ClientGone

    def count(self) -> int:
        """How many requests wait, or are being answered after that."""
        return self._places

    def end_all(self) -> None:
        """Every wait is over: the process ends. On an event loop."""
        for wake in list(self._wakes):
            wake()


def _wake(loop: asyncio.AbstractEventLoop, woken: "asyncio.Future[None]") -> None:
    """On any thread."""
    with contextlib.suppress(RuntimeError):  # the loop has ended, and its requests with it
        loop.call_soon_threadsafe(_set, woken)


def _set(woken: "asyncio.Future[None]") -> None:
    if not woken.done():
        woken.set_result(None)


async def _client_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


waits = Waits()

OPEN = Gauge(
    "bedrock_chat_waits_open", "Requests that wait for something to happen, and hold no thread.", read=waits.count
)
