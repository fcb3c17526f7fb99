"""A Bedrock for measuring streams: every delta of its answers says when it was written.

The text of a delta is `time.monotonic_ns()` and a full stop; the clock is the machine's, so any process can tell how
long the delta took. Of a request, the model reads only where it ends. Without a pace the deltas are prepared once, so
their stamps tell only the order. Each is still a write of its own, and streams take turns.

    PUT /plan {"deltas": 300, "pace": 0.02}    sets what the next answers are
    GET /lateness                              how late deltas were written since the last call, in ms: {"p50", …}
"""

import asyncio
import contextlib
import http.client
import json
import sys
import time
from collections.abc import Iterator
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import uvloop

from bedrock_chat.bedrock.emulator import framing
from tests.bench.load import percentile

HEAD = (
    f"HTTP/1.1 200 OK\r\nContent-Type: {framing.CONTENT_TYPE}\r\nTransfer-Encoding: chunked\r\n"
    "x-amzn-RequestId: 0\r\n\r\n"
).encode()
BEGIN = HEAD + framing.chunk(framing.event("messageStart", {"role": "assistant"}))
BACKLOG = 2048

plan: dict[str, Any] = {"deltas": 10, "pace": 0.0}
lateness: list[float] = []


def delta() -> bytes:
    """One delta with the current time."""
    text = {"contentBlockIndex": 0, "delta": {"text": f"{time.monotonic_ns()}."}}
    return framing.chunk(framing.event("contentBlockDelta", text))


def end(deltas: int) -> bytes:
    usage = {"inputTokens": 1, "outputTokens": deltas, "totalTokens": deltas + 1}
    events = (
        ("contentBlockStop", {"contentBlockIndex": 0}),
        ("messageStop", {"stopReason": "end_turn"}),
        ("metadata", {"usage": usage, "metrics": {"latencyMs": 1}}),
    )
    return b"".join(framing.chunk(framing.event(kind, payload)) for kind, payload in events) + framing.LAST_CHUNK


@cache
def burst(deltas: int) -> list[bytes]:
    return [*(delta() for _ in range(deltas)), end(deltas)]


class Model:
    """Controls a running model from the bench."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._address = urlsplit(url).netloc

    def plan(self, deltas: int, pace: float) -> None:
        self._ask("PUT", "/plan", json.dumps({"deltas": deltas, "pace": pace}))

    def lateness(self) -> dict[str, float]:
        return {f"{share}Ms": late for share, late in self._ask("GET", "/lateness").items()}

    def _ask(self, method: str, path: str, body: str | None = None) -> Any:
        with contextlib.closing(http.client.HTTPConnection(self._address)) as connection:
            connection.request(method, path, body)
            return json.load(connection.getresponse())


class Connection(asyncio.Protocol):
    """A keep-alive connection, one request at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: Any
        self._buffer = b""
        self._timer: asyncio.TimerHandle | None = None
        self._left = 0
        self._due = self._pace = 0.0
        self._deltas = 0

    def connection_made(self, transport: Any) -> None:  # uvloop's transports are no asyncio.Transport
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        size = next((int(line[15:]) for line in head.split(b"\r\n") if line[:15].lower() == b"content-length:"), 0)
        if len(body) < size:
            return
        self._buffer = body[size:]
        self._answer(head.split(b" ", 2)[1], body[:size])

    def _answer(self, path: bytes, body: bytes) -> None:
        if path.endswith(b"/converse-stream"):
            self._stream(plan["deltas"], plan["pace"])
        elif path == b"/plan":
            plan.update(json.loads(body))
            lateness.clear()
            self._respond(plan)
        elif path == b"/lateness":
            late = sorted(lateness) or [0.0]
            lateness.clear()
            self._respond({f"p{share}": round(percentile(late, share / 100), 2) for share in (50, 95, 99)})
        else:
            raise ValueError(path)

    def _respond(self, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    def _stream(self, deltas: int, pace: float) -> None:
        self._transport.write(BEGIN)
        if not pace:
            self._burst(iter(burst(deltas)))
            return
        self._left = self._deltas = deltas
        self._pace, self._due = pace, time.monotonic()
        self._next()

    def _burst(self, pieces: Iterator[bytes]) -> None:
        if (piece := next(pieces, None)) is not None and not self._transport.is_closing():
            self._transport.write(piece)
            self._loop.call_soon(self._burst, pieces)

    def _next(self) -> None:
        """Writes a delta. The next one is due by the plan, so a late delta does not delay the rest."""
        lateness.append((time.monotonic() - self._due) * 1000)
        self._left -= 1
        if self._left:
            self._transport.write(delta())
            self._due += self._pace
            self._timer = self._loop.call_later(max(0.0, self._due - time.monotonic()), self._next)
        else:
            self._transport.write(delta() + end(self._deltas))


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(loop), "127.0.0.1", 0, backlog=BACKLOG)
    host, port = server.sockets[0].getsockname()
    print(f"http://{host}:{port}", flush=True)
    await asyncio.to_thread(sys.stdin.read)  # returns when the bench has ended, even if it was killed


if __name__ == "__main__":
    uvloop.run(main())
