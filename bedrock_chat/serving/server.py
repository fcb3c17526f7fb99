"""Runs one uvicorn process. SIGTERM or Ctrl-C ends it, with all of its threads."""

import asyncio
import errno
import gc
import logging
import math
import socket
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from types import FrameType
from typing import NoReturn

import uvicorn
from django.conf import settings

from bedrock_chat.database import service
from bedrock_chat.process import large_pages, limits, shutdown, startup, telemetry
from bedrock_chat.serving.application import Application
from bedrock_chat.serving.connections import OPEN, RESERVE, Connections
from bedrock_chat.serving.http_connection import HttpConnection
from bedrock_chat.serving.waits import waits
from bedrock_chat.serving.websocket_connection import WebSocketConnection

logger = logging.getLogger(__name__)

BACKLOG = 2048
DESCRIPTORS_PER_THREAD = 3  # SQLite keeps as many; on PostgreSQL the sockets of pool and boto3 are fewer
OTHER_DESCRIPTORS = 2 * RESERVE
USER_TIMEOUT_SECONDS = 60
# Longer than the 60 s after which load balancers close an idle connection. If we closed it first, a request would now
# and then meet a connection that is being closed, and its client would get a 502.
KEEP_ALIVE_SECONDS = 75
GC_THRESHOLDS = (10_000, 20, 20)
# A part of 32,768 UTF-16 units takes 200 KB where every one is escaped. Whoever has a token may keep so much waiting on
# each socket, uncounted, by a message without an end.
LARGEST_WEBSOCKET_MESSAGE = 256 * 1024


# How long each step after the grace may take; with the heartbeat's last beat, together less than five seconds.
# INTERRUPT: turns store what they have and send it. ABANDON: clients of turns that did not end get an error instead.
# REFUSE: plain requests are refused.
INTERRUPT_SECONDS = 3.0
ABANDON_SECONDS = 0.4
REFUSE_SECONDS = 0.4
LOOK_SECONDS = 0.02


class Server(uvicorn.Server):
    """uvicorn, but the first signal begins to drain and the second one ends the process at once.

    While it drains it goes on answering: `/ready` answers 503, new turns are refused, running ones have SHUTDOWN_GRACE
    seconds. Then they are interrupted, and every stream and WebSocket gets its last event before it is closed.
    """

    def __init__(self, config: uvicorn.Config, on_started: Callable[[str], None] | None = None) -> None:
        super().__init__(config)
        self._on_started = on_started
        self._loop: asyncio.AbstractEventLoop | None = None
        self._draining: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._loop = asyncio.get_running_loop()
        # What is loaded now stays, so `freeze` spares the collector walking it again: a full collection took 86 ms,
        # several times in a turn of two thousand messages (measured: 0.68 × the CPU of such a turn, 0.93 × of a short
        # one). Streams stand still during a collection. With the wider thresholds there was none in runs of 440
        # streams, instead of two or three of up to 172 ms (deltas that were more than 30 ms late: 3 a run, not 123).
        startup.prepare()
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        large_pages.begin()
        if self.started and self._on_started is not None:
            self._on_started(address((sockets or self.servers[0].sockets)[0]))

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # Without super(): uvicorn would raise the signal again after the shutdown, which would kill the process.
        if shutdown.draining() or self._loop is None:
            self.should_exit = self.force_exit = True
            return
        shutdown.begin()
        self._loop.call_soon_threadsafe(self._begin_to_drain)

    def _begin_to_drain(self) -> None:
        shutdown.announce()
        self._draining = asyncio.get_running_loop().create_task(self._drain())

    async def _drain(self) -> None:
        """End gently; every step ends early when nothing is busy any more.

        1. Wait for the grace.
        2. Accept no more connections, interrupt what is busy, and wait INTERRUPT_SECONDS.
        3. Abandon what is still busy, and wait ABANDON_SECONDS.
        4. Let uvicorn end; it waits for plain requests itself.
        """
        try:
            loop = asyncio.get_running_loop()
            end = loop.time() + settings.SHUTDOWN_GRACE
            await _while_busy(settings.SHUTDOWN_GRACE)
            for server in self.servers:  # a client that comes from here on would get no last event
                server.close()
            shutdown.interrupt()
            await _while_busy(INTERRUPT_SECONDS)
            shutdown.abandon()
            await _while_busy(ABANDON_SECONDS)
            # uvicorn waits for plain requests: they have the rest of the grace.
            self.config.timeout_graceful_shutdown = max(REFUSE_SECONDS, end - loop.time())  # type: ignore[assignment]
        finally:
            self.should_exit = True


async def _while_busy(seconds: float) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while shutdown.busy() and loop.time() < end:  # noqa: ASYNC110  many threads change the count
        await asyncio.sleep(LOOK_SECONDS)


def run(
    *, host: str | None = None, port: int | None = None, on_started: Callable[[str], None] | None = None
) -> NoReturn:
    """Serve until SIGTERM or SIGINT, then end the process.

    `host` and `port` default to the settings; port 0 takes any free one. `on_started` is called with the address, like
    `http://127.0.0.1:8000`, once requests are answered. Running requests have SHUTDOWN_GRACE seconds to finish.
    """
    listener = listen(settings.HOST if host is None else host, settings.PORT if port is None else port)
    telemetry.begin("web")
    service.begin(settings.DATABASE_TIMEOUT)
    startup.refuse_what_lacks()
    connections = _connections_that_fit()
    waits.most = connections // 2  # whoever does not wait needs connections too
    config = configuration(Application(), connections=connections)
    server = Server(config, on_started)

    async def serve() -> None:
        status = 0
        try:
            await server.serve(sockets=[listener])
        except SystemExit as failure:  # uvicorn raises it when it could not start
            status = failure.code if isinstance(failure.code, int) else 1
        except BaseException:
            logger.exception("The server failed.")
            status = 1
        shutdown.leave(status)

    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(serve())
    shutdown.leave(1)


def _connections_that_fit() -> int:
    """CONNECTIONS, or as many as the system's limit of open files leaves beside the threads."""
    others = DESCRIPTORS_PER_THREAD * settings.THREADS + OTHER_DESCRIPTORS
    allowed = limits.raise_descriptor_limit(others + settings.CONNECTIONS)
    if allowed >= others + settings.CONNECTIONS:
        return settings.CONNECTIONS
    fitting = max(RESERVE, allowed - others)
    logger.warning(
        "CONNECTIONS is lowered from %d to %d: with THREADS=%d it needs %d open files, and the system allows %d. "
        "Raise `ulimit -n`, or lower THREADS.",
        settings.CONNECTIONS,
        fitting,
        settings.THREADS,
        others + settings.CONNECTIONS,
        allowed,
    )
    return fitting


def configuration(app: Callable[..., Awaitable[None]], *, connections: int | None = None) -> uvicorn.Config:
    """Uvicorn's configuration. `connections` are those that may be open, by default the settings' CONNECTIONS."""
    registry = Connections(settings.CONNECTIONS if connections is None else connections)
    OPEN.read = registry.__len__
    return uvicorn.Config(
        app,
        http=partial(HttpConnection, registry=registry),  # type: ignore[arg-type]  # called like a class
        lifespan="on",
        log_config=None,  # Django's settings configure the logs
        access_log=False,
        proxy_headers=False,  # TRUSTED_PROXIES decides whose forwarded addresses count
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=math.ceil(settings.SHUTDOWN_GRACE),
        ws=partial(WebSocketConnection, registry=registry),  # type: ignore[arg-type]
        ws_max_size=LARGEST_WEBSOCKET_MESSAGE,
        ws_per_message_deflate=False,  # it takes more memory and CPU per socket than all the rest
    )


def listen(host: str, port: int, *, variable: str = "PORT") -> socket.socket:
    """A listening socket. Exits with one sentence if it cannot be opened; `variable` is the setting of its port."""
    try:
        family, kind, protocol, _, socket_address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            # Linux: the kernel cuts off a client that takes nothing, and drops what still waits to be sent to it.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_SECONDS * 1000)
        listener.bind(socket_address)
        listener.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            sys.exit(
                f"Port {port} of {host} is in use: stop the program that holds it, or set {variable} to another one."
            )
        sys.exit(f"HOST={host}, {variable}={port} cannot be listened on: {getattr(error, 'strerror', None) or error}.")
    return listener


def address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
