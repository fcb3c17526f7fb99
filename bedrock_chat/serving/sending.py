"""Sends a client messages as they come, for as long as the client takes them."""

import asyncio
import contextlib
import contextvars
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from bedrock_chat.serving.outflow import Outflow, SlowReader

AsgiMessage = dict[str, Any]
Receive = Callable[[], Awaitable[AsgiMessage]]
Send = Callable[[AsgiMessage], Awaitable[None]]


class ClientGone(Exception):
    """The client left before there was a response for it."""


async def pump(
    messages: AsyncGenerator[AsgiMessage, None],
    receive: Receive,
    send: Send,
    *,
    outflow: Outflow,
    disconnect: str = "http.disconnect",
    context: contextvars.Context | None = None,
) -> bool:
    """Sends messages as they come: until their end, until the client is gone (the event `disconnect`), or until it has
    taken less than the floor while bytes waited for it. Then its connection is aborted. Returns whether all were sent.
    The generator is closed in any case, and its errors are raised.
    """
    loop = asyncio.get_running_loop()

    def let_go() -> None:
        outflow.abort()
        listening.cancel()

    async def listen() -> None:
        while (await receive())["type"] != disconnect:
            pass

    async def forward() -> None:
        async with contextlib.aclosing(messages):
            async for message in messages:
                reader.written += len(message.get("body") or message.get("text", "").encode())
                await send(message)

    listening = loop.create_task(listen())
    reader = SlowReader(outflow, let_go)
    forwarding = loop.create_task(forward(), context=context)
    try:
        await asyncio.wait((forwarding, listening), return_when=asyncio.FIRST_COMPLETED)
    finally:
        all_sent = forwarding.done()
        reader.end()
        forwarding.cancel()
        listening.cancel()
        await asyncio.wait((forwarding, listening))
    if not listening.cancelled():
        listening.exception()  # reading it keeps asyncio from logging a connection that broke
    if not forwarding.cancelled() and (error := forwarding.exception()) is not None:
        raise error
    return all_sent
