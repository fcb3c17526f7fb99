"""One HTTP connection: uvicorn's, with bounds on what a client may cost before its request is known.

A head (request line and headers) has LARGEST_HEAD bytes, MOST_FIELDS fields and HEAD_TIMEOUT seconds. What breaks a
rule is answered in our error shape, as far as HTTP allows an answer, and the connection is closed.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from typing import Any

import httptools
from django.conf import settings
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from bedrock_chat.serving.bridge import raw_error
from bedrock_chat.serving.connections import Connections
from bedrock_chat.serving.outflow import OUTFLOW, Outflow
from bedrock_chat.wire import errors
from bedrock_chat.wire.errors import ApiError

LARGEST_HEAD = 64 * 1024
MOST_FIELDS = 100
MOST_PIPELINED = 8
"""Requests that wait behind the one that is being answered. One read brings in thousands of small ones."""
BEGIN = "bedrock_chat.begin"
"""The key of a scope's `extensions` that holds a function: the request is whole, or its caller known. Before, its
connection may give way to others like a silent one."""
SLICE = 16 * 1024
"""Bytes that are parsed at once, so that a field that does not end is noticed soon."""
LINGER_SECONDS = 2.0
"""How long what a refused client still sends is read. Closing a socket with unread data resets the connection, and
most clients then report the reset instead of the answer."""
OPEN_TO_ALL = (b"/health", b"/ready", b"/metrics")

App = Callable[..., Awaitable[None]]


class _Refused(Exception):
    """Stops the parser. The argument is the ApiError that the client gets."""


class HttpConnection(HttpToolsProtocol):
    """A connection of uvicorn's that knows its registry, counts the bytes of heads, and limits their time."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        registry: Connections,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.registry = registry
        self._in_head = True
        self._head_bytes = 0  # of parsed names and values
        self._unparsed_bytes = 0  # of what the parser has taken since it reported anything
        self._begun = False  # whether any byte of the awaited head has come
        self._origin: bytes | None = None
        self._in_reserve = False
        self._refusing = False
        self._late_refusal: ApiError | None = None
        self._timer: asyncio.TimerHandle | None = None

    # ---- The life of a connection -----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if not self.registry.open(transport):
            transport.abort()
            return
        self._in_reserve = self.registry.is_full()
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self.registry.close(self.transport)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        if self._refusing or self.parser is None:
            return
        if self._in_head and self._timer is None:  # the first byte of the next request on a kept connection
            self._start_timer()
            if not self._is_answering():
                self.registry.await_head(self.transport)
        self._begun = True
        try:
            if len(data) <= SLICE:
                self._parse(data)
            else:
                view = memoryview(data)
                for start in range(0, len(data), SLICE):
                    self._parse(view[start : start + SLICE])
        except httptools.HttpParserUpgrade:
            self._stop_timer()
            if self._should_upgrade():
                self.handle_websocket_upgrade()
            else:  # the request is answered as if it did not ask, and the parser is of no more use
                self.cycle.keep_alive = False
                self._refusing = True
        except httptools.HttpParserError as error:
            reason = error.__context__
            self._refuse(reason.args[0] if isinstance(reason, _Refused) else errors.BadRequest("This is no HTTP."))

    def _parse(self, data: bytes | memoryview) -> None:
        """Raises httptools' errors. Callbacks set the count of unparsed bytes to zero."""
        if self._refusing:
            return
        self._unparsed_bytes += len(data)
        self.parser.feed_data(data)
        if self._head_bytes + self._unparsed_bytes > LARGEST_HEAD:
            self._refuse(_head_too_large())

    # ---- The parser's callbacks -------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= MOST_PIPELINED:
            raise _Refused(errors.ServiceUnavailable())
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = self._unparsed_bytes = 0
        self._origin = None
        if self._timer is None:  # a request that was sent before the last one was answered
            self._start_timer()

    def on_url(self, url: bytes) -> None:
        self._add_to_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Also called for the trailers of a chunked body. They count, and are dropped."""
        self._add_to_head(len(name) + len(value) + 4)  # 4: the colon, a blank and the line's end
        if not self._in_head:
            return
        if len(self.headers) >= MOST_FIELDS:
            raise _Refused(_head_too_large())
        super().on_header(name, value)
        match self.headers[-1][0]:
            case b"origin":
                self._origin = value
            case b"transfer-encoding" if value.strip().lower() != b"chunked":
                raise _Refused(errors.UnknownTransferCoding())

    def on_headers_complete(self) -> None:
        self._stop_timer()
        self._in_head = self._begun = False
        self._head_bytes = self._unparsed_bytes = 0
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (hosts == 0 and self.parser.get_http_version() == "1.1"):
            raise _Refused(errors.BadRequest("A request has one Host header."))
        if self._in_reserve and self.registry.is_full() and self.url.partition(b"?")[0] not in OPEN_TO_ALL:
            self.registry.refuse()
            raise _Refused(errors.ServiceUnavailable("This process has too many connections.", retry_after=1))
        has_body = any(name in (b"content-length", b"transfer-encoding") for name, _ in self.headers)
        is_websocket = self.parser.should_upgrade() and self._should_upgrade()
        if is_websocket and (has_body or self.parser.get_method() != b"GET"):
            raise _Refused(errors.BadRequest("A WebSocket begins with a GET request that has no body."))
        begin = partial(self.registry.begin, self.transport)
        outflow = Outflow(self.transport, has_body=self.parser.get_method() != b"HEAD")
        extensions: dict[str, Any] = {OUTFLOW: outflow, BEGIN: begin}
        self.scope["extensions"] = extensions
        if not has_body and not is_websocket:  # a socket's client is known by its first message
            begin()
        super().on_headers_complete()
        if any(name == b"content-length" and int(value) > LARGEST_HEAD for name, value in self.headers):
            self.flow.pause_reading()  # the application asks for the body; until then the system keeps it

    def on_body(self, body: bytes) -> None:
        """Keeps nothing of a body behind a response that closes the connection: it is only heard out."""
        self._unparsed_bytes = 0
        is_heard_out = self.cycle.response_started and not self.cycle.keep_alive
        super().on_body(b"" if is_heard_out else body)

    def on_chunk_header(self) -> None:
        self._unparsed_bytes = 0

    def on_message_complete(self) -> None:
        self._in_head = True  # what comes next is a head
        self._head_bytes = self._unparsed_bytes = 0
        super().on_message_complete()

    def _add_to_head(self, size: int) -> None:
        self._unparsed_bytes = 0
        self._head_bytes += size
        if self._head_bytes > LARGEST_HEAD:
            raise _Refused(_head_too_large())

    # ---- Responses --------------------------------------------------------------------------------------------------

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: App) -> None:
        extensions: Any = cycle.scope["extensions"]
        cycle.transport = extensions[OUTFLOW]
        super()._start_asgi_task(cycle, _without_chunks(cycle, app) if cycle.scope["http_version"] == "1.0" else app)

    def on_response_complete(self) -> None:
        goes_on = bool(self.pipeline)
        super().on_response_complete()
        if self._late_refusal is not None and not goes_on:
            self._say_refusal(self._late_refusal)
            return
        if self._is_answering():
            return
        if self._timer is not None:
            self.registry.await_head(self.transport)
        else:
            self.registry.rest(self.transport)

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def timeout_keep_alive_handler(self) -> None:
        """A client that has not even taken its last response is not waited for any longer."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    # ---- Refusals ---------------------------------------------------------------------------------------------------

    def send_400_response(self, msg: str) -> None:
        self._refuse(errors.BadRequest(msg))

    def _refuse(self, error: ApiError) -> None:
        """Answer with an error and close the connection. Where the fault is in a request behind others that are still
        being answered, those are answered to their end first.
        """
        if self._refusing:
            return
        self._refusing = True
        self._stop_timer()
        cycle = self.cycle
        if self._is_answering():
            if not cycle.more_body:
                cycle.keep_alive = False
                return
            cycle.disconnected = True
            cycle.message_event.set()
            if self.pipeline:
                self.pipeline.popleft()
                cycle.response_complete = True
                self._late_refusal = error
                return
            if cycle.response_started:
                self.transport.close()
                return
        self._say_refusal(error)

    def _say_refusal(self, error: ApiError) -> None:
        self.flow.resume_reading()
        self.transport.write(refusal(error, self._origin))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._timer = self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(settings.HEAD_TIMEOUT, self._on_slow_head)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_slow_head(self) -> None:
        """The head has not come in time. While an earlier request is being answered its client may be held up by us."""
        if self._is_answering():
            self._start_timer()
            return
        self._timer = None
        self.registry.slow_heads.count(settings.HEAD_TIMEOUT)
        if self._begun:
            self._refuse(errors.RequestTimeout(f"The head of the request took over {settings.HEAD_TIMEOUT:g} seconds."))
        else:
            self.transport.close()


def _head_too_large() -> ApiError:
    return errors.HeadTooLarge(f"A request's head has at most {LARGEST_HEAD // 1024} KB and {MOST_FIELDS} fields.")


def refusal(error: ApiError, origin: bytes | None) -> bytes:
    """The bytes of an error's response, which a page of an allowed origin may read."""
    raw = raw_error(error)
    headers = [*raw.headers, (b"connection", b"close")]
    if settings.CORS_ALLOW_ALL_ORIGINS:
        headers.append((b"access-control-allow-origin", b"*"))
    elif origin is not None and origin.decode("latin-1") in settings.CORS_ALLOWED_ORIGINS:
        headers += [(b"access-control-allow-origin", origin), (b"vary", b"origin")]
    head = b"".join(b"%s: %s\r\n" % header for header in headers)
    return STATUS_LINE[HTTPStatus(raw.status)] + head + b"\r\n" + raw.body


def _without_chunks(cycle: RequestResponseCycle, app: App) -> App:
    """The application for a client of HTTP/1.0, which does not know chunks: the end of a body without a length is the
    end of its connection.
    """

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        endless = False

        async def send_as_is(message: dict[str, Any]) -> None:
            nonlocal endless
            if message["type"] == "http.response.start":
                endless = not any(name.lower() == b"content-length" for name, _ in message["headers"])
                if endless:
                    cycle.chunked_encoding, cycle.expected_content_length = False, sys.maxsize
            elif endless and not message.get("more_body", False):
                cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        await app(scope, receive, send_as_is)

    return answer
