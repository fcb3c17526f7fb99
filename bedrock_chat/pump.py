"""Sending what comes piece by piece, for as long as somebody takes it."""

import asyncio
import contextlib
import contextvars
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

SEND_SECONDS = 60.0
"""A client who takes nothing for that long has given up, whatever its socket says."""


async def pump(
    messages: AsyncGenerator[Message, None],
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
    waiting_since: float | None = None
    timer: asyncio.TimerHandle

    async def forward() -> None:
        nonlocal waiting_since
        async with contextlib.aclosing(messages):
            async for message in messages:
                waiting_since = loop.time()
                await send(message)
                waiting_since = None

    async def listen() -> None:
        while (await receive())["type"] != gone:
            pass

    def look() -> None:
        """Lets go of a client who takes nothing; the end of either task ends the pump."""
        nonlocal timer
        if waiting_since is not None and loop.time() - waiting_since > SEND_SECONDS:
            listening.cancel()
        else:
            timer = loop.call_later(SEND_SECONDS / 4, look)

    forwarding = loop.create_task(forward(), context=context)
    listening = loop.create_task(listen())
    timer = loop.call_later(SEND_SECONDS / 4, look)
    try:
        await asyncio.wait((forwarding, listening), return_when=asyncio.FIRST_COMPLETED)
    finally:
        whole = forwarding.done()
        timer.cancel()
        forwarding.cancel()
        listening.cancel()
        ended, _ = await asyncio.gather(forwarding, listening, return_exceptions=True)
    if isinstance(ended, Exception):
        raise ended
    return whole
