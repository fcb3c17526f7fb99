"""Reading a request's body on the event loop, so that an upload that stalls costs a socket and no thread.

A stranger may send SMALL bytes within HEAD_TIMEOUT seconds. A larger or slower body is read for a caller whom a judge
knows by the request's head, and counts against UPLOADS_MB.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import Awaitable, Callable
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import IO, Any, cast

from django.conf import settings
from django.core.files.base import File

from bedrock_chat.blobs.local_storage import unfinished_file
from bedrock_chat.metrics import refusals
from bedrock_chat.process.budget import Budget
from bedrock_chat.serving.bridge import Environ
from bedrock_chat.serving.outflow import FLOOR_BYTES, FLOOR_SECONDS, Floor
from bedrock_chat.serving.sending import ClientGone, Receive, Send
from bedrock_chat.wire import errors
from bedrock_chat.wire.errors import ApiError

MEGABYTE = 1024 * 1024
SMALL = 64 * 1024
SPOOL_BYTES = MEGABYTE
"""A larger body waits in a temporary file: a few dozen uploads must not fill the memory."""
LINGER_SECONDS = 10.0
LINGER_SILENCE_SECONDS = 1.0
RETRY_SECONDS = 5

Judge = Callable[[Environ], Awaitable[str]]
"""Names the caller of a request by its head. Raises ApiError for one that nobody knows."""
Admit = Callable[[Environ], Awaitable[tuple[str, Path]]]
"""Names the caller of an upload by its head, and the folder for its file. Raises ApiError, and OSError."""


class BodyRefused(Exception):
    """The body is not read to its end. `error` is for the client, who is still sending where `is_coming`."""

    def __init__(self, error: ApiError, *, is_coming: bool = True) -> None:
        self.error = error
        self.is_coming = is_coming


@cache
def uploads() -> Budget:
    """The bytes of bodies that this process holds, in memory and in temporary files."""
    total = settings.UPLOADS_MB * MEGABYTE
    return Budget(total, max(total // 4, settings.MAX_BODY_MB * MEGABYTE))


class Counted:
    """A body as far as it has come. It is counted for its caller, once there is one, until it is closed."""

    length = 0
    caller: str | None = None
    _least = 0
    _counted = 0

    def add(self, piece: bytes) -> None:
        """Raises ServiceUnavailable where the caller or the process holds too much, or where the disk is full."""
        self.length += len(piece)
        if self.caller is not None:
            self.count(self.length)
        try:
            self.write(piece)
        except OSError as error:
            raise errors.as_api_error(error) from None

    def write(self, piece: bytes) -> int:
        raise NotImplementedError

    def count(self, length: int) -> None:
        """Count up to `length` bytes for the caller. Raises ServiceUnavailable."""
        assert self.caller is not None
        length = max(length, self._least)
        if length <= self._counted:
            return
        if not uploads().take(self.caller, length - self._counted):
            refusals.count("uploads")
            raise errors.ServiceUnavailable("Too much is being uploaded at once; try again.", retry_after=RETRY_SECONDS)
        self._counted = length

    def give_back(self) -> None:
        if self.caller is not None and self._counted:
            uploads().give_back(self.caller, self._counted)
            self._counted = 0


class Body(tempfile.SpooledTemporaryFile[bytes], Counted):
    """A body that waits for its view: in memory, and in a temporary file where it is large."""

    def __init__(self, caller: str | None = None) -> None:
        super().__init__(max_size=SPOOL_BYTES)
        self.caller = caller

    def close(self) -> None:
        # On a full disk the file cannot write out its last bytes, which nobody reads any more.
        with contextlib.suppress(OSError):
            super().close()
        self.give_back()


class FileBody(File, Counted):
    """A body that is a file in its storage's folder from the first byte on. Whoever keeps it renames that file.

    However small it is, it counts as much as a body that waits in a file: files that are open are bounded, too.
    """

    _least = SPOOL_BYTES

    def __init__(self, folder: Path, caller: str) -> None:
        super().__init__(unfinished_file(folder))
        self.caller = caller

    def temporary_file_path(self) -> str:
        """As of Django's own uploads that are files."""
        return str(self.name)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            super().close()
        Path(self.temporary_file_path()).unlink(missing_ok=True)
        self.give_back()


async def read(environ: Environ, receive: Receive, judge: Judge) -> tuple[IO[bytes], int]:
    """The whole body and its length in bytes.

    Raises BodyRefused: over MAX_BODY_MB; after BODY_TIMEOUT seconds of silence; below the floor of bytes per second;
    where the judge refuses; where too much is held. Raises ClientGone when the client left.
    """
    length = declared_length(environ)
    if length is None:
        return BytesIO(), 0
    _refuse_too_large(length, settings.MAX_BODY_MB)
    return await _whole(Body(), length, settings.MAX_BODY_MB, environ, receive, judge)


async def read_upload(environ: Environ, receive: Receive, admit: Admit) -> tuple[IO[bytes], int]:
    """A file that is uploaded to an address of its own, and its length in bytes. It never is in memory as a whole.

    Raises BodyRefused where `admit` refuses, before anything is read; over UPLOAD_MB; else as `read` does. Raises
    ClientGone.
    """
    try:
        caller, folder = await admit(environ)
        body = FileBody(folder, caller)
    except Exception as error:  # noqa: BLE001  a full disk, or no database: the client is told
        raise BodyRefused(errors.recorded(error)) from None
    return await _whole(body, declared_length(environ) or 0, settings.UPLOAD_MB, environ, receive)


def declared_length(environ: Environ) -> int | None:
    """What the head says of the body's length: 0 where it comes in chunks, None where there is no body."""
    declared = environ.get("CONTENT_LENGTH")
    if declared is None:
        return 0 if "HTTP_TRANSFER_ENCODING" in environ else None
    return int(declared)


async def _whole(
    body: Body | FileBody, length: int, limit: int, environ: Environ, receive: Receive, judge: Judge | None = None
) -> tuple[IO[bytes], int]:
    """Reads a body to its end, or closes it. Raises BodyRefused and ClientGone."""
    try:
        if body.caller is not None:
            body.count(length)
        await _read_into(body, length, limit, environ, receive, judge)
        body.seek(0)  # writes out what is buffered
    except (BodyRefused, ClientGone):
        body.close()
        raise
    except Exception as error:  # noqa: BLE001  a full disk, or a judge without its database: the client is told
        body.close()
        raise BodyRefused(errors.recorded(error)) from None
    except BaseException:
        body.close()
        raise
    return cast(IO[bytes], body), body.length


async def _read_into(
    body: Body | FileBody, declared: int, limit: int, environ: Environ, receive: Receive, judge: Judge | None
) -> None:
    """Reads to the body's end. `declared` is its length, 0 where it comes in chunks; `limit` is in MB.

    1. A body that is declared to be larger than SMALL needs a caller before it is read.
    2. Any other needs one as soon as it has become larger, or has taken longer than HEAD_TIMEOUT.
    """
    loop = asyncio.get_running_loop()
    floor = Floor()
    small_until = loop.time() + settings.HEAD_TIMEOUT
    silent_until = loop.time() + settings.BODY_TIMEOUT
    floor.is_below(loop.time(), 0)
    while True:
        is_small = max(declared, body.length) <= SMALL and loop.time() < small_until
        if body.caller is None and judge is not None and not is_small:
            body.caller = await judge(environ)
            body.count(declared)
            silent_until = loop.time() + settings.BODY_TIMEOUT
            floor.rest()  # the client had to wait for the judge
        try:
            async with asyncio.timeout_at(silent_until if body.caller else min(silent_until, small_until)):
                message = await receive()
        except TimeoutError:
            if loop.time() < silent_until:
                continue  # a stranger's time is over
            sentence = f"The request body stalled for {settings.BODY_TIMEOUT:g} seconds."
            raise BodyRefused(errors.RequestTimeout(sentence), is_coming=False) from None
        if message["type"] == "http.disconnect":
            raise ClientGone
        piece = message.get("body", b"")
        _refuse_too_large(body.length + len(piece), limit)
        body.add(piece)
        if not message.get("more_body", False):
            return
        silent_until = loop.time() + settings.BODY_TIMEOUT
        if floor.is_below(loop.time(), body.length):
            sentence = f"The request body came at less than {FLOOR_BYTES} bytes a second for {FLOOR_SECONDS:g} seconds."
            raise BodyRefused(errors.RequestTimeout(sentence), is_coming=False)


def _refuse_too_large(length: int, limit: int) -> None:
    if length > limit * MEGABYTE:
        raise BodyRefused(errors.PayloadTooLarge(f"The request body is larger than {limit} MB."))


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
