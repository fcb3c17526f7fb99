"""Runs Django's synchronous handler under an event loop: requests work on threads and wait on the loop."""

import asyncio
import contextlib
import contextvars
import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from queue import SimpleQueue
from typing import Any

import orjson
from django.core.handlers.wsgi import WSGIHandler

from bedrock_chat.database.connections import release_connection
from bedrock_chat.process.thread_pool import Task, ThreadPool, awaited
from bedrock_chat.serving import answers
from bedrock_chat.serving.outflow import Outflow
from bedrock_chat.serving.sending import AsgiMessage, ClientGone, Receive, Send, pump
from bedrock_chat.serving.waits import WAIT, Wait, waits
from bedrock_chat.wire.errors import ApiError, body_of
from bedrock_chat.wire.requests import AFTER_RESPONSE, WAITED

logger = logging.getLogger(__name__)

Environ = dict[str, Any]
Headers = list[tuple[bytes, bytes]]

FILE_BLOCK = 256 * 1024
PIECE = 64 * 1024
REQUEST_ID = b"x-request-id"
KEPT_HEADERS = (b"access-control-", b"vary", REQUEST_ID)
BODILESS = frozenset({204, 304})
LOOK_SECONDS = 0.01


class FileBlocks:
    """`wsgi.file_wrapper`: with it Django hands over the file itself instead of an iterator over pieces of 4 KB."""

    def __init__(self, file: Any, block_size: int) -> None:
        self._file = file
        self._in_use = threading.Lock()  # a client that leaves has the file closed, perhaps during a read

    def read(self) -> bytes:
        with self._in_use:
            block: bytes = self._file.read(FILE_BLOCK)
            return block

    def close(self) -> None:
        """Close the response, too: Django has replaced the file's `close` by the response's."""
        with self._in_use:
            self._file.close()


@dataclass(slots=True)
class Stream:
    """A response whose body is still to come, piece by piece. Each piece is taken on a thread or on the loop.

    `inbox` takes tasks for the thread that made the response. That thread stays with a synchronous iterator, which may
    hold a cursor of the thread's database connection. `inbox` is None where any thread will do.
    """

    response: Any
    threads: ThreadPool
    inbox: "SimpleQueue[Task | None] | None"
    close_response: Task
    context: contextvars.Context

    async def parts(self) -> AsyncGenerator[bytes | memoryview, None]:
        """The pieces of the body: asynchronous iterators run on the loop, files and synchronous ones on threads."""
        if isinstance(self.response, FileBlocks):
            take = self.response.read
        elif not self.response.is_async:
            take = partial(next, filter(None, iter(self.response)), b"")
        else:
            try:
                async for part in self.response:
                    yield part
            finally:
                # Django wraps the view's generator. Closing only the wrappers would leave it to the garbage collector.
                if aclose := getattr(self.response._iterator, "aclose", None):
                    await aclose()
            return
        # Each take runs in a copy of the context, since the task that waits here has entered the original.
        while part := await awaited(self._submit, take, self.context.copy()):
            yield part

    def close(self) -> None:
        """Close the response on a thread, and free the thread that stayed with it. Call this exactly once."""
        self._submit(self.close_response)
        if self.inbox is not None:
            self.inbox.put(None)

    def serve(self) -> None:
        """On the thread that stays with the stream: run the tasks of its inbox until the stream is closed."""
        while self.inbox is not None and (task := self.inbox.get()) is not None:
            task()

    def _submit(self, task: Task) -> None:
        if self.inbox is None:
            self.threads.submit(task)
        else:
            self.inbox.put(task)


@dataclass(slots=True)
class RawResponse:
    status: int
    headers: Headers
    body: bytes = b""
    stream: Stream | None = None
    wait: Wait | None = None
    left_to_do: list[Task] = field(default_factory=list)
    """Of a response with a wait: what is to be done once it is sent, or not sent since the client has left."""


class Bridge:
    """Runs requests through a WSGI handler. An ordinary response crosses to the loop once, whole and closed.

    Files and asynchronous streams come back to the loop and hold neither thread nor database connection while they wait
    for the model or for a slow reader. Other streams keep the thread they were made on.
    """

    def __init__(self, threads: ThreadPool, handler: WSGIHandler, *, after_waits: ThreadPool | None = None) -> None:
        self._threads = threads
        self._after_waits = after_waits or threads
        self._handler = handler
        self._finishing = set[int]()  # the threads with something to do after a response

    async def handle(self, environ: Environ, receive: Receive) -> RawResponse:
        """Have Django answer a request. Cancelling this loses the response but not the work: a turn is still stored.

        1. The handler runs on a thread.
        2. Where its view asks for a wait (`waits.ask`) and there is a place, the response is dropped. Nothing of the
           first call is kept but what is to be done if the client leaves.
        3. When the wait is over, the handler runs once more, on the request as it came, without its body. It does so on
           few threads of its own: one event may wake thousands.

        Raises ClientGone where the client leaves during the wait.
        """
        began = time.perf_counter()
        as_it_came = environ.copy()
        raw = await self._answer(environ, self._threads)
        if raw.wait is None:
            return raw
        with waits.place() as is_free:
            if not is_free:
                self._threads.submit(partial(self._do, raw.left_to_do))
                return raw
            environ.clear()
            environ |= as_it_came
            environ |= {"wsgi.input": BytesIO(), "CONTENT_LENGTH": "0"}
            wait, left_to_do, request_id = raw.wait, raw.left_to_do, _header(raw, REQUEST_ID)
            del raw, as_it_came
            try:
                await waits.over(wait, receive)
            except ClientGone:
                self._threads.submit(partial(self._do, left_to_do))
                raise
            environ[WAITED] = time.perf_counter() - began
            if request_id:
                environ["HTTP_X_REQUEST_ID"] = request_id
            return await self._answer(environ, self._after_waits)

    async def _answer(self, environ: Environ, threads: ThreadPool) -> RawResponse:
        """The response of one call of the handler."""
        loop = asyncio.get_running_loop()
        response: asyncio.Future[RawResponse] = loop.create_future()

        def deliver(raw: RawResponse) -> None:
            if not response.done():
                response.set_result(raw)
            elif raw.stream is not None:
                raw.stream.close()

        threads.submit(lambda: self._work(environ, lambda raw: loop.call_soon_threadsafe(deliver, raw)))
        return await response

    async def send(self, raw: RawResponse, receive: Receive, send: Send, *, outflow: Outflow, caller: str) -> None:
        """Send a response. It is closed and its thread freed even if the client leaves or `send` fails.

        A large body is counted for its caller until the client has taken it. It gives way to a 503 where the caller or
        the process already holds too much for clients that are slow.
        """
        if raw.stream is not None:
            try:
                messages = _messages(raw, raw.stream.parts())
                await pump(messages, receive, send, outflow=outflow, context=raw.stream.context)
            finally:
                raw.stream.close()
            return
        if len(raw.body) <= answers.LARGE:
            await self._send_small(raw, receive, send, outflow)
            return
        with answers.budget().holding(caller, len(raw.body)) as fits:
            if fits:
                await pump(_messages(raw, _pieces(raw.body)), receive, send, outflow=outflow)
                return
        await self._send_small(_in_place_of(raw, answers.too_many()), receive, send, outflow)

    async def finish(self, seconds: float) -> None:
        """Waits, at most so long, until nothing is left to do after the responses that are sent."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while self._finishing and loop.time() < end:  # noqa: ASYNC110  threads change the set
            await asyncio.sleep(LOOK_SECONDS)

    async def _send_small(self, raw: RawResponse, receive: Receive, send: Send, outflow: Outflow) -> None:
        if outflow.is_free():  # neither of these waits
            outflow.join()
            await send(_head(raw))
            await send({"type": "http.response.body", "body": raw.body})
        else:  # behind responses that the client has not taken
            await pump(_messages(raw, _pieces(raw.body)), receive, send, outflow=outflow)

    def _work(self, environ: Environ, deliver: Callable[[RawResponse], object]) -> None:
        """On a thread: answer one request, and then, if this thread stays with its stream, run the stream's tasks."""
        # A thread serves many requests: what one of them binds (log fields, a language) must not reach the next.
        context = contextvars.Context()
        environ[AFTER_RESPONSE] = []
        try:
            raw = context.run(self._respond, environ, context)
        except BaseException:  # SystemExit too: without a response the client would wait for ever
            logger.exception("A request failed outside of Django's own error handling.")
            environ["wsgi.input"].close()
            raw = raw_error(ApiError())
        left_to_do: list[Task] = environ[AFTER_RESPONSE]
        if raw.stream is None:
            left_to_do.append(release_connection)
            if (wait := environ.get(WAIT)) is not None:
                raw.wait, raw.left_to_do, left_to_do = wait, left_to_do, []
        self._do([partial(self._deliver, raw, deliver), *left_to_do])
        if raw.stream is not None:
            raw.stream.serve()

    def _deliver(self, raw: RawResponse, deliver: Callable[[RawResponse], object]) -> None:
        try:
            deliver(raw)
        except RuntimeError:  # the loop has ended meanwhile
            if raw.stream is not None:
                raw.stream.close()

    def _do(self, tasks: list[Task]) -> None:
        """On a thread: deliver a response, or do what is left to do after one. `finish` waits for it."""
        thread = threading.get_ident()
        self._finishing.add(thread)
        try:
            for task in tasks:
                try:
                    task()
                except Exception:
                    logger.exception("What was left to do after a response failed.")
        finally:
            self._finishing.discard(thread)

    def _respond(self, environ: Environ, context: contextvars.Context) -> RawResponse:
        """On a thread: have Django answer a request, and make its response ready to be sent.

        1. Call Django's handler. It calls `start_response` with the status and the headers.
        2. A response that has no body (204, 304) loses its Content-Length.
        3. An ordinary response: join its body, and add a Content-Length if there is none.
        4. A stream, unless the method is HEAD: return it open. A synchronous one gets an inbox, so that this thread
           stays with it. For any other, release this thread's database connection first.
        5. In every other case, after an error too, close the response and the request's body.
        """
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
            is_stream = is_file or response.streaming
            body = b""
            if status in BODILESS:
                # A middleware may have added the length of a body that is not sent, which HTTP forbids.
                headers = [header for header in headers if header[0] != b"content-length"]
            elif not is_stream:
                body = b"".join(response)
                if not any(name == b"content-length" for name, _ in headers):
                    headers.append((b"content-length", b"%d" % len(body)))
            elif environ["REQUEST_METHOD"] != "HEAD":
                inbox = None if is_file or response.is_async else SimpleQueue[Task | None]()
                if inbox is None:
                    release_connection()
                environ["wsgi.input"].close()  # a long stream must not keep what was uploaded before it
                return RawResponse(
                    status, headers, stream=Stream(response, self._threads, inbox, response.close, context)
                )
        except BaseException:
            close()
            raise
        close()
        return RawResponse(status, headers, body)


def _header(raw: RawResponse, name: bytes) -> str:
    return next((value.decode("latin-1") for header, value in raw.headers if header == name), "")


def _no_write(data: bytes) -> object:
    raise NotImplementedError("Django returns its bodies.")


def raw_error(error: ApiError) -> RawResponse:
    """An error in our JSON shape, for cases in which Django cannot make the response."""
    body = orjson.dumps(body_of(error))
    headers = [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
    length = (b"content-length", b"%d" % len(body))
    return RawResponse(error.status_code, [(b"content-type", b"application/json"), length, *headers], body)


def _in_place_of(raw: RawResponse, error: ApiError) -> RawResponse:
    """An error instead of a response, of which the headers for browsers and the request's id stay."""
    kept = [header for header in raw.headers if header[0].startswith(KEPT_HEADERS)]
    refusal = raw_error(error)
    return RawResponse(refusal.status, refusal.headers + kept, refusal.body)


def _head(raw: RawResponse) -> AsgiMessage:
    return {"type": "http.response.start", "status": raw.status, "headers": raw.headers}


Parts = AsyncGenerator[bytes | memoryview, None]


async def _messages(raw: RawResponse, parts: Parts) -> AsyncGenerator[AsgiMessage, None]:
    """A response as ASGI sends it."""
    yield _head(raw)
    async with contextlib.aclosing(parts):
        async for part in parts:
            yield {"type": "http.response.body", "body": part, "more_body": True}
    yield {"type": "http.response.body", "body": b""}


async def _pieces(body: bytes) -> Parts:
    view = memoryview(body)
    for start in range(0, len(body), PIECE):
        yield view[start : start + PIECE]
