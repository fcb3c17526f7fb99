"""Reading a request's body on the event loop, so that an upload that stalls costs a socket and no thread."""

import asyncio
import contextlib
import tempfile
from io import BytesIO
from typing import IO, Any

from django.conf import settings

from bedrock_chat.serving.bridge import Environ
from bedrock_chat.serving.sending import Receive, Send

MEGABYTE = 1024 * 1024
SPOOL_BYTES = 4 * MEGABYTE  # a larger body waits in a temporary file: a few dozen uploads must not fill the memory
LINGER_SECONDS = 10.0
LINGER_SILENCE_SECONDS = 1.0

TOO_LARGE = "bedrock_chat.body_too_large"
STALLED = "bedrock_chat.body_stalled"


class BodyRefused(Exception):
    """The body is not read to its end. The argument is the environ's key for the reason."""


class ClientGone(Exception):
    """The client left before its request was whole."""


async def read(environ: Environ, receive: Receive) -> tuple[IO[bytes], int]:
    """The whole body and its length in bytes. Above SPOOL_BYTES it is in a temporary file.

    Raises BodyRefused over MAX_BODY_MB or after BODY_TIMEOUT seconds of silence, ClientGone when the client left.
    """
    declared = environ.get("CONTENT_LENGTH")
    if declared is None and "HTTP_TRANSFER_ENCODING" not in environ:
        return BytesIO(), 0
    limit = settings.MAX_BODY_MB * MEGABYTE
    if declared is not None and int(declared) > limit:
        raise BodyRefused(TOO_LARGE)
    body: IO[bytes] = BytesIO()
    length = 0
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(settings.BODY_TIMEOUT) as silence_timeout:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                piece = message.get("body", b"")
                length += len(piece)
                if length > limit:
                    raise BodyRefused(TOO_LARGE)
                if length > SPOOL_BYTES and isinstance(body, BytesIO):
                    spool = tempfile.TemporaryFile()  # noqa: SIM115  it is closed with the response
                    spool.write(body.getbuffer())
                    body = spool
                body.write(piece)
                if not message.get("more_body", False):
                    break
                silence_timeout.reschedule(loop.time() + settings.BODY_TIMEOUT)
    except BaseException as error:
        body.close()
        if isinstance(error, TimeoutError):
            raise BodyRefused(STALLED) from None
        raise
    body.seek(0)
    return body, length


def lingering(receive: Receive, send: Send) -> Send:
    """A `send` for a client that is still uploading: it reads on for a while before the response ends and the socket is
    closed.

    Closing a socket with unread data resets the connection. Most clients then report the reset, not the response.
    """

    async def read_on() -> None:
        async with asyncio.timeout(LINGER_SECONDS):
            while True:
                async with asyncio.timeout(LINGER_SILENCE_SECONDS):
                    message = await receive()
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return

    async def send_and_read_on(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            await send({**message, "more_body": True})
            with contextlib.suppress(TimeoutError):
                await read_on()
            message = {"type": "http.response.body", "body": b""}
        await send(message)

    return send_and_read_on
