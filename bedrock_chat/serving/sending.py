"""Sends a client messages as they come, for as long as the client takes them."""

import asyncio
import contextlib
import contextvars
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

AsgiMessage = dict[str, Any]
Receive = Callable[[], Awaitable[AsgiMessage]]
Send = Callable[[AsgiMessage], Awaitable[None]]

SEND_SECONDS = 60.0
"""A client that takes nothing for this long counts as gone, even if its socket is still open."""


class _SendTimeout:
    """Cancels a task once a send has waited for its client for longer than SEND_SECONDS."""

    def __init__(self, loop: asyncio.AbstractEventLoop, task: asyncio.Task[None]) -> None:
        self._loop, self._task = loop, task
        self.waiting_since: float | None = None
        self._timer = loop.call_later(SEND_SECONDS / 4, self._check)

    def _check(self) -> None:
        if self.waiting_since is not None and self._loop.time() - self.waiting_since > SEND_SECONDS:
            self._task.cancel()
        else:
            self._timer = self._loop.call_later(SEND_SECONDS / 4, self._check)

    def end(self) -> None:
        self._timer.cancel()


async def pump(
    messages: AsyncGenerator[AsgiMessage, None],
    receive: Receive,
    send: Send,
    *,
    disconnect: str = "http.disconnect",
    context: contextvars.Context | None = None,
) -> bool:
    """Sends messages as they come: until their end, until the client is gone (the event `disconnect`), or until it has
    taken nothing for SEND_SECONDS. Returns whether all were sent. The generator is closed in any case, and its errors
    are raised.
    """
    loop = asyncio.get_running_loop()

    async def listen() -> None:
        while (await receive())["type"] != disconnect:
            pass

    async def forward() -> None:
        async with contextlib.aclosing(messages):
            async for message in messages:
                send_timeout.waiting_since = loop.time()
                await send(message)
                send_timeout.waiting_since = None

    listening = loop.create_task(listen())
    send_timeout = _SendTimeout(loop, listening)
    forwarding = loop.create_task(forward(), context=context)
    try:
        await asyncio.wait((forwarding, listening), return_when=asyncio.FIRST_COMPLETED)
    finally:
        all_sent = forwarding.done()
        send_timeout.end()
        forwarding.cancel()
        listening.cancel()
        await asyncio.wait((forwarding, listening))
    if not listening.cancelled():
        listening.exception()  # reading it keeps asyncio from logging a connection that broke
    if not forwarding.cancelled() and (error := forwarding.exception()) is not None:
        raise error
    return all_sent
