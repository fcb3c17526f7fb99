"""The way in: what the network sends becomes a WSGI request with a whole body, or is refused here.

Bodies are read on the event loop, so that an upload that stalls costs a socket and no thread.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import Mapping
from functools import lru_cache
from io import BytesIO
from sys import stderr
from typing import IO, Any
from urllib.parse import unquote_to_bytes

from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.module_loading import import_string
from django.views.decorators.csrf import csrf_exempt

from bedrock_chat.process import heartbeat
from bedrock_chat.process.thread_pool import ThreadPool, shared
from bedrock_chat.serving.bridge import Bridge, Environ, plain_error
from bedrock_chat.serving.sending import Receive, Send
from bedrock_chat.wire.requests import WireRequest

MEGABYTE = 1024 * 1024
SPOOL_BYTES = 4 * MEGABYTE  # a larger body waits in a temporary file: a few dozen uploads must not fill the memory
LINGER_SECONDS = 10.0
LINGER_SILENCE_SECONDS = 1.0
CLOSE = (b"connection", b"close")

BODY_TOO_LARGE = "bedrock_chat.body_too_large"
BODY_STALLED = "bedrock_chat.body_stalled"


class BodyRefused(Exception):
    """The body is not read to its end. The argument is the environ's key for the reason."""


class ClientGone(Exception):
    """The client left before its request was whole."""


class Handler(WSGIHandler):
    """Django, which answers a refused body itself: with CORS headers, in our shape, and in the log like any answer."""

    request_class = WireRequest

    def resolve_request(self, request: HttpRequest) -> Any:
        resolved = super().resolve_request(request)
        for reason, refuse in ((BODY_TOO_LARGE, body_too_large), (BODY_STALLED, body_stalled)):
            if request.META.get(reason):
                return refuse, (), {}
        return resolved


@csrf_exempt
def body_too_large(request: HttpRequest) -> HttpResponse:
    return _refusal(413, f"The request body is larger than {settings.MAX_BODY_MB} MB.")


@csrf_exempt
def body_stalled(request: HttpRequest) -> HttpResponse:
    return _refusal(408, f"The request body stalled for {settings.BODY_TIMEOUT:g} seconds.")


def _refusal(status: int, sentence: str) -> HttpResponse:
    return JsonResponse({"detail": sentence, "errors": [sentence]}, status=status)


class Application:
    """The ASGI application: HTTP through the bridge, WebSockets at `/ws`, life and death of the process."""

    def __init__(self, threads: ThreadPool | None = None) -> None:
        self.threads = threads or shared()
        self.bridge = Bridge(self.threads, Handler())

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
        environ = wsgi_environ(scope)
        refused = None
        try:
            try:
                body, length = await read_body(environ, receive)
            except BodyRefused as refusal:
                refused = refusal.args[0]
                environ[refused] = True
                body, length = BytesIO(), 0
            environ["wsgi.input"] = body
            environ["CONTENT_LENGTH"] = str(length)
            answer = await self.bridge.ask(environ)
        except ClientGone:
            return
        except asyncio.CancelledError:
            # Nothing but the end of the server's grace cancels a request.
            answer = plain_error(503, "The server is shutting down.", [(b"retry-after", b"1"), CLOSE])
        if refused is not None:
            answer.headers.append(CLOSE)
        await self.bridge.tell(answer, receive, _lingering(receive, send) if refused == BODY_TOO_LARGE else send)

    async def _websocket(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        served = getattr(settings, "WEBSOCKETS", {}).get(scope["path"])
        if served is None:
            await send({"type": "websocket.close", "code": 1000})  # before it is accepted: answered as 403
        else:
            await import_string(served)(scope, wsgi_environ({**scope, "method": "GET"}), receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            match (await receive())["type"]:
                case "lifespan.startup":
                    heartbeat.start()
                    await send({"type": "lifespan.startup.complete"})
                case "lifespan.shutdown":
                    await asyncio.to_thread(heartbeat.stop, 0.5)
                    self.threads.stop()
                    await send({"type": "lifespan.shutdown.complete"})
                    return


async def read_body(environ: Environ, receive: Receive) -> tuple[IO[bytes], int]:
    """The whole body and its length in bytes.

    Raises BodyRefused over MAX_BODY_MB or after BODY_TIMEOUT seconds of silence, ClientGone when the client left.
    """
    declared = environ.get("CONTENT_LENGTH")
    if declared is None and "HTTP_TRANSFER_ENCODING" not in environ:
        return BytesIO(), 0
    limit = settings.MAX_BODY_MB * MEGABYTE
    if declared is not None and int(declared) > limit:
        raise BodyRefused(BODY_TOO_LARGE)
    body: IO[bytes] = BytesIO()
    length = 0
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(settings.BODY_TIMEOUT) as silence:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                piece = message.get("body", b"")
                length += len(piece)
                if length > limit:
                    raise BodyRefused(BODY_TOO_LARGE)
                if length > SPOOL_BYTES and isinstance(body, BytesIO):
                    spool = tempfile.TemporaryFile()  # noqa: SIM115  it is closed with the response
                    spool.write(body.getbuffer())
                    body = spool
                body.write(piece)
                if not message.get("more_body", False):
                    break
                silence.reschedule(loop.time() + settings.BODY_TIMEOUT)
    except BaseException as error:
        body.close()
        if isinstance(error, TimeoutError):
            raise BodyRefused(BODY_STALLED) from None
        raise
    body.seek(0)
    return body, length


def wsgi_environ(scope: Mapping[str, Any]) -> Environ:
    """The WSGI environment of an HTTP request, without its body."""
    path = scope["raw_path"]
    if b"://" in path and not path.startswith(b"/"):  # `GET http://host/path`, as clients of a proxy write it
        path = b"/" + path.partition(b"://")[2].partition(b"/")[2]
    server, client = scope.get("server"), scope.get("client")
    environ: Environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": (unquote_to_bytes(path) if b"%" in path else path).decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": server[0] if server else "localhost",
        "SERVER_PORT": str(server[1]) if server else "80",
        "REMOTE_ADDR": client[0] if client else "",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.errors": stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in scope["headers"]:
        key = environ_key(name)
        if key is None:
            continue
        text = value.decode("latin-1")
        if key in environ:
            text = environ[key] + ("; " if key == "HTTP_COOKIE" else ",") + text
        environ[key] = text
    return environ


@lru_cache(maxsize=512)
def environ_key(name: bytes) -> str | None:
    """The environment's name of a header, or None for one with `_`, which would pass for its namesake with `-`."""
    if b"_" in name:
        return None
    key = name.decode("latin-1").upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"


def _lingering(receive: Receive, send: Send) -> Send:
    """A `send` that hears out, for a while, a client who is still uploading, before the answer's end closes the socket.

    Closing under unread data resets the connection, and most clients then report that instead of the answer they got.
    """

    async def hear_out() -> None:
        async with asyncio.timeout(LINGER_SECONDS):
            while True:
                async with asyncio.timeout(LINGER_SILENCE_SECONDS):
                    message = await receive()
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return

    async def lingering(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            await send({**message, "more_body": True})
            with contextlib.suppress(TimeoutError):
                await hear_out()
            message = {"type": "http.response.body", "body": b""}
        await send(message)

    return lingering
