"""Django's synchronous handler under an event loop: requests work on threads, and wait on the loop."""

import asyncio
import contextlib
import contextvars
import logging
import threading
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Any

import orjson
from django.core.handlers.wsgi import WSGIHandler

from bedrock_chat.database.connections import release_connection
from bedrock_chat.process.thread_pool import Task, ThreadPool, awaited
from bedrock_chat.serving.sending import AsgiMessage, Receive, Send, pump
from bedrock_chat.wire.errors import ApiError, body_of

logger = logging.getLogger(__name__)

Environ = dict[str, Any]
Headers = list[tuple[bytes, bytes]]

FILE_BLOCK = 256 * 1024
BODILESS = frozenset({204, 304})


class FileBlocks:
    """`wsgi.file_wrapper`: Django hands over a file instead of that file's 4 KB pieces."""

    def __init__(self, file: Any, block_size: int) -> None:
        self._file = file
        self._in_use = threading.Lock()  # a client may vanish, and so have the file closed, in the middle of a read

    def read(self) -> bytes:
        with self._in_use:
            block: bytes = self._file.read(FILE_BLOCK)
            return block

    def close(self) -> None:
        """Close the response: Django puts its `close` in the place of the file's."""
        with self._in_use:
            self._file.close()


@dataclass(slots=True)
class Stream:
    """A response whose body is still to come, piece by piece, each taken on a thread or on the loop.

    `lent` stands for the thread that made the response and stays with it: a synchronous iterator may hold a cursor of
    that thread's database connection. None: any thread will do.
    """

    response: Any
    threads: ThreadPool
    lent: "SimpleQueue[Task | None] | None"
    close_response: Task
    context: contextvars.Context

    async def parts(self) -> AsyncGenerator[bytes, None]:
        if isinstance(self.response, FileBlocks):
            take = self.response.read
        elif not self.response.is_async:
            take = partial(next, filter(None, iter(self.response)), b"")
        else:
            try:
                async for part in self.response:
                    yield part
            finally:
                # Django wraps the view's generator; closing the wrappers alone would leave it to the garbage collector.
                if aclose := getattr(self.response._iterator, "aclose", None):
                    await aclose()
            return
        # Each take has a copy of the context: the original is entered by the task that waits here.
        while part := await awaited(self._submit, take, self.context.copy()):
            yield part

    def close(self) -> None:
        """Close the response on a thread, and free one that was lent. To be called exactly once."""
        self._submit(self.close_response)
        if self.lent is not None:
            self.lent.put(None)

    def serve(self) -> None:
        """On a lent thread: do what the loop asks for, until the stream is closed."""
        while self.lent is not None and (job := self.lent.get()) is not None:
            job()

    def _submit(self, job: Task) -> None:
        if self.lent is None:
            self.threads.submit(job)
        else:
            self.lent.put(job)


@dataclass(slots=True)
class RawResponse:
    status: int
    headers: Headers
    body: bytes = b""
    stream: Stream | None = None


class Bridge:
    """Runs requests through a WSGI handler. An ordinary response crosses to the loop once, whole and closed.

    Files and asynchronous streams come back to the loop and hold neither thread nor database connection while they wait
    for the model or for a slow reader. Other streams keep the thread they were made on.
    """

    def __init__(self, threads: ThreadPool, handler: WSGIHandler) -> None:
        self._threads = threads
        self._handler = handler

    async def handle(self, environ: Environ) -> RawResponse:
        """Have Django work on a request. Cancelling loses the response, never the work: a turn is stored."""
        loop = asyncio.get_running_loop()
        arrival: asyncio.Future[RawResponse] = loop.create_future()

        def arrived(raw: RawResponse) -> None:
            if not arrival.done():
                arrival.set_result(raw)
            elif raw.stream is not None:
                raw.stream.close()

        self._threads.submit(lambda: self._work(environ, lambda raw: loop.call_soon_threadsafe(arrived, raw)))
        return await arrival

    async def send(self, raw: RawResponse, receive: Receive, send: Send) -> None:
        """Send a response. Whatever becomes of the client or of `send`, the response is closed and its thread freed."""
        stream = raw.stream
        try:
            await send({"type": "http.response.start", "status": raw.status, "headers": raw.headers})
            if stream is None:
                await send({"type": "http.response.body", "body": raw.body})
            else:
                await pump(_as_messages(stream), receive, send, context=stream.context)
        finally:
            if stream is not None:
                stream.close()

    def _work(self, environ: Environ, deliver: Callable[[RawResponse], object]) -> None:
        """On a thread: one request, and then, where the thread is lent to it, its stream."""
        # Threads outlive requests: what one of them binds (log fields, a language) must not be there for the next.
        context = contextvars.Context()
        try:
            raw = context.run(self._respond, environ, context)
        except BaseException:  # SystemExit too: its client would wait for ever
            logger.exception("A request failed outside of Django's own error handling.")
            environ["wsgi.input"].close()
            raw = raw_error(ApiError())
        try:
            deliver(raw)
        except RuntimeError:  # the loop has ended meanwhile
            if raw.stream is not None:
                raw.stream.close()
        if raw.stream is not None:
            raw.stream.serve()

    def _respond(self, environ: Environ, context: contextvars.Context) -> RawResponse:
        head: tuple[str, list[tuple[str, str]]] = ("", [])

        def start_response(status: str, headers: list[tuple[str, str]], _: Any = None) -> Callable[[bytes], object]:
            nonlocal head
            head = status, headers
            return _no_write

        environ["wsgi.file_wrapper"] = FileBlocks
        response: Any = self._handler(environ, start_response)

        def close() -> None:
            try:
                response.close()
            finally:
                environ["wsgi.input"].close()

        try:
            status = int(head[0][:3])
            headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in head[1]]
            is_file = isinstance(response, FileBlocks)
            streams = is_file or response.streaming
            body = b""
            if status in BODILESS:
                # CommonMiddleware measures what is not there, and HTTP forbids saying so.
                headers = [header for header in headers if header[0] != b"content-length"]
            elif not streams:
                body = b"".join(response)
                if not any(name == b"content-length" for name, _ in headers):
                    headers.append((b"content-length", b"%d" % len(body)))
            elif environ["REQUEST_METHOD"] != "HEAD":
                lent = None if is_file or response.is_async else SimpleQueue[Task | None]()
                if lent is None:
                    release_connection()
                return RawResponse(status, headers, stream=Stream(response, self._threads, lent, close, context))
        except BaseException:
            close()
            raise
        close()
        return RawResponse(status, headers, body)


def _no_write(data: bytes) -> object:
    raise NotImplementedError("Django returns its bodies.")


def raw_error(error: ApiError) -> RawResponse:
    """An error in our shape, for where Django cannot be asked for one."""
    body = orjson.dumps(body_of(error))
    headers = [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
    length = (b"content-length", b"%d" % len(body))
    return RawResponse(error.status_code, [(b"content-type", b"application/json"), length, *headers], body)


async def _as_messages(stream: Stream) -> AsyncGenerator[AsgiMessage, None]:
    async with contextlib.aclosing(stream.parts()) as parts:
        async for part in parts:
            yield {"type": "http.response.body", "body": part, "more_body": True}
    yield {"type": "http.response.body", "body": b""}
