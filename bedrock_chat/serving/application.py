"""The ASGI application: it turns what the network sends into a WSGI request with its whole body, or refuses it.

Bodies are read on the event loop, so that an upload that stalls costs a socket and no thread.
"""

import asyncio
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.utils.module_loading import import_string
from django.views.decorators.csrf import csrf_exempt

from bedrock_chat.process import heartbeat
from bedrock_chat.process.thread_pool import ThreadPool, shared
from bedrock_chat.serving import request_body
from bedrock_chat.serving.bridge import Bridge, Environ, raw_error
from bedrock_chat.serving.callers import caller_of, uploader_of
from bedrock_chat.serving.environ import wsgi_environ
from bedrock_chat.serving.hanging_up import HangUp
from bedrock_chat.serving.http_connection import BEGIN
from bedrock_chat.serving.outflow import OUTFLOW
from bedrock_chat.serving.sending import ClientGone, Receive, Send
from bedrock_chat.wire import errors
from bedrock_chat.wire.requests import CALLER, HANG_UP, WireRequest

CLOSE = (b"connection", b"close")
REFUSAL = "bedrock_chat.refusal"
"""The environ's key for the ApiError with which a body was refused."""
FINISH_SECONDS = 0.5
RESERVED_THREADS = {"/health": 2, "/ready": 4, "/metrics": 2}
"""Path → threads of its own: they answer at once while every other thread waits for something that is away."""
THREADS_AFTER_WAITS = 8
"""One event may wake thousands of requests. More threads would answer them no sooner, and take memory for good."""


class Handler(WSGIHandler):
    """Django, which also answers requests whose body was refused: with CORS headers, our error shape and a log line."""

    request_class = WireRequest

    def resolve_request(self, request: HttpRequest) -> Any:
        resolved = super().resolve_request(request)
        return (body_refused, (), {}) if REFUSAL in request.META else resolved


@csrf_exempt
def body_refused(request: HttpRequest) -> HttpResponse:
    return errors.json_error(request.META[REFUSAL])


class Application:
    """The ASGI application: HTTP through the bridge, the WebSockets of the settings, start and end of the process."""

    def __init__(self, threads: ThreadPool | None = None) -> None:
        self.threads = threads or shared()
        handler = Handler()
        after_waits = ThreadPool(THREADS_AFTER_WAITS, name="after-wait")
        self.bridge = Bridge(self.threads, handler, after_waits=after_waits)
        pools = {path: ThreadPool(limit, name=path.strip("/")) for path, limit in RESERVED_THREADS.items()}
        self._other_threads = [after_waits, *pools.values()]
        self._reserved = {path: Bridge(pool, handler) for path, pool in pools.items()}

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "http":
                await self._http(scope, receive, send)
            case "lifespan":
                await self._lifespan(receive, send)
            case "websocket":
                await self._websocket(scope, receive, send)
            case other:
                raise NotImplementedError(f"Protocol {other!r}")

    async def _http(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one HTTP request.

        1. Read its body. If it is refused, note the error in the environ: Django then answers with it.
        2. Have Django make the response. A client that left before its body was whole, or while its request waited,
           gets none.
        3. Send the response. After a refused body, close the connection; if the client is still sending, first read on
           for a while.
        """
        environ = wsgi_environ(scope)
        uploads: Mapping[str, str] = getattr(settings, "UPLOADS", {})
        begin: Callable[[], None] = scope["extensions"].get(BEGIN, bool)

        async def judge(environ: Environ) -> str:
            caller = await self.threads.run(lambda: caller_of(environ))
            begin()
            return caller

        async def admit(environ: Environ) -> tuple[str, Path]:
            admitted = await self.threads.run(lambda: uploader_of(environ, uploads[environ["PATH_INFO"]]))
            begin()
            return admitted

        bridge = self._reserved.get(scope["path"], self.bridge)
        refused: request_body.BodyRefused | None = None
        try:
            try:
                if environ["REQUEST_METHOD"] == "PUT" and environ["PATH_INFO"] in uploads:
                    body, length = await request_body.read_upload(environ, receive, admit)
                else:
                    body, length = await request_body.read(environ, receive, judge)
            except request_body.BodyRefused as refusal:
                refused = refusal
                environ[REFUSAL] = refusal.error
                body, length = BytesIO(), 0
            begin()
            environ["wsgi.input"] = body
            environ["CONTENT_LENGTH"] = str(length)
            hang_up = HangUp(receive)
            environ[HANG_UP] = hang_up.notify
            try:
                response = await bridge.handle(environ, receive)
            finally:
                await hang_up.end()
        except ClientGone:
            return
        except asyncio.CancelledError:
            # A request is cancelled only at the end of the server's grace.
            response = raw_error(errors.ServiceUnavailable("The server is shutting down.", retry_after=1))
            response.headers.append(CLOSE)
        if refused is not None:
            response.headers.append(CLOSE)
        is_coming = refused is not None and refused.is_coming
        await bridge.send(
            response,
            receive,
            request_body.lingering(receive, send) if is_coming else send,
            outflow=scope["extensions"][OUTFLOW],
            caller=environ.get(CALLER) or environ["REMOTE_ADDR"],
        )

    async def _websocket(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        handler = getattr(settings, "WEBSOCKETS", {}).get(scope["path"])
        if handler is None:
            await send({"type": "websocket.close", "code": 1000})  # before it was accepted, so the client gets a 403
        else:
            await import_string(handler)(scope, wsgi_environ({**scope, "method": "GET"}), receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            match (await receive())["type"]:
                case "lifespan.startup":
                    heartbeat.start()
                    await send({"type": "lifespan.startup.complete"})
                case "lifespan.shutdown":
                    await asyncio.to_thread(heartbeat.stop, 0.5)
                    for bridge in (self.bridge, *self._reserved.values()):
                        await bridge.finish(FINISH_SECONDS)  # the last requests' log lines
                    for threads in (self.threads, *self._other_threads):
                        threads.stop()
                    await send({"type": "lifespan.shutdown.complete"})
                    return
