"""What a worker answers, for kubelets and Prometheus: of all routes `/health`, `/ready` and `/metrics` alone."""

import asyncio
import threading
from collections.abc import Mapping
from typing import Any, Final

import uvicorn

from bedrock_chat.process.thread_pool import ThreadPool
from bedrock_chat.serving import server
from bedrock_chat.serving.application import RESERVED_THREADS, Application
from bedrock_chat.serving.sending import Receive, Send

CONNECTIONS: Final = 64


class Probes:
    """The application of the web process, without the routes that have no threads of their own."""

    def __init__(self) -> None:
        self._application = Application(ThreadPool(1, name="probe"))

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})  # before it was accepted, so the client gets a 403
        elif scope["type"] == "http" and scope["path"] not in RESERVED_THREADS:
            headers = [(b"content-length", b"0"), (b"connection", b"close")]
            await send({"type": "http.response.start", "status": 404, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
        else:
            await self._application(scope, receive, send)


def begin(host: str, port: int) -> None:
    """Answers from now on, on a thread of its own. Exits with a message where the port cannot be listened on."""
    listener = server.listen(host, port, variable="WORKER_PORT")
    config = server.configuration(Probes(), connections=CONNECTIONS)

    def serve() -> None:
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(uvicorn.Server(config).serve(sockets=[listener]))

    threading.Thread(target=serve, name="probes", daemon=True).start()
