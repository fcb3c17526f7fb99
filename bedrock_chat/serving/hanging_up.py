"""Tells a view, while it works, that its client has left: for work that is worth nothing without its client."""

import asyncio
from collections.abc import Callable

from bedrock_chat.serving.sending import Receive

Callback = Callable[[], object]


class HangUp:
    """Listens for the end of one request's connection, if the view asks for it, until the response is there."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._loop = asyncio.get_running_loop()
        self._listening: asyncio.Task[None] | None = None
        self._is_over = False

    def notify(self, callback: Callback) -> None:
        """Has `callback` called on the event loop if the client leaves. Any thread may call this, once."""
        self._loop.call_soon_threadsafe(self._listen, callback)

    async def end(self) -> None:
        """No callback is called any more: from now on `pump` sees that the client leaves."""
        self._is_over = True
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening])

    def _listen(self, callback: Callback) -> None:
        if not self._is_over:
            self._listening = self._loop.create_task(self._wait(callback))

    async def _wait(self, callback: Callback) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        callback()
