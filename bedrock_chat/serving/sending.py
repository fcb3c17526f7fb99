"""Sending what comes piece by piece, for as long as somebody takes it."""

import asyncio
import contextlib
import contextvars
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

AsgiMessage = dict[str, Any]
Receive = Callable[[], Awaitable[AsgiMessage]]
Send = Callable[[AsgiMessage], Awaitable[None]]

SEND_SECONDS = 60.0
"""A client who takes nothing for that long has given up, whatever its socket says."""


class _Patience:
    """Cancels a task once a send has waited for its client for longer than SEND_SECONDS."""

    def __init__(self, loop: asyncio.AbstractEventLoop, task: asyncio.Task[None]) -> None:
        self._loop, self._task = loop, task
        self.waiting_since: float | None = None
        self._timer = loop.call_later(SEND_SECONDS / 4, self._look)

    def _look(self) -> None:
        if self.waiting_since is not None and self._loop.time() - self.waiting_since > SEND_SECONDS:
            self._task.cancel()
        else:
            self._timer = self._loop.call_later(SEND_SECONDS / 4, self._look)

    def end(self) -> None:
        self._timer.cancel()


async def pump(
    messages: AsyncGenerator[AsgiMessage, None],
    receive: Receive,
    send: Send,
    *,
    gone: str = "http.disconnect",
    context: contextvars.Context | None = None,
) -> bool:
    """Sends messages as they come: until their end, until the client is gone (the event `gone`), or until it has taken
    nothing for SEND_SECONDS. Says whether all were sent. The generator is closed in any case; its faults are raised.
    """
    loop = asyncio.get_running_loop()

    async def listen() -> None:
        while (await receive())["type"] != gone:
            pass

    async def forward() -> None:
        async with contextlib.aclosing(messages):
            async for message in messages:
                patience.waiting_since = loop.time()
                await send(message)
                patience.waiting_since = None

    listening = loop.create_task(listen())
    patience = _Patience(loop, listening)
    forwarding = loop.create_task(forward(), context=context)
    try:
        await asyncio.wait((forwarding, listening), return_when=asyncio.FIRST_COMPLETED)
    finally:
        whole = forwarding.done()
        patience.end()
        forwarding.cancel()
        listening.cancel()
        await asyncio.wait((forwarding, listening))
    if not listening.cancelled():
        listening.exception()  # a connection that broke; nobody needs to be told
    if not forwarding.cancelled() and (fault := forwarding.exception()) is not None:
        raise fault
    return whole
