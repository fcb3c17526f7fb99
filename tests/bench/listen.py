"""The listeners of a benchmark: many streamed turns on one event loop, with as little work for each delta as possible.

The WebSocket client and the SSE client do only what the bench needs. They record the stamps that they receive (see
`clock_model`) and the age of each stamp on arrival. A frame of several deltas holds several stamps.
"""

import asyncio
import contextlib
import http.client
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any
from urllib.parse import urlsplit

import uvloop

from tests.bench.load import percentile

STAMP = re.compile(rb"(\d{9,})\.")
TIMEOUT_SECONDS = 90.0


@dataclass
class Question:
    """One turn to ask for. The client vanishes once it has received `leaves_after` deltas; 0: it stays to the end."""

    conversation: str
    leaves_after: int = 0

    def body(self) -> str:
        message = {
            "content": [{"contentType": "text", "body": "message"}],
            "model": "claude-v3.7-sonnet",
            "parentMessageId": None,
        }
        return json.dumps({"conversationId": self.conversation, "message": message})


@dataclass
class Transcript:
    """What a client received for its question."""

    question: Question
    stamps: list[int] = field(default_factory=list)
    lags: list[int] = field(default_factory=list)  # nanoseconds, one for each stamp
    frames: int = 0
    ended: bool = False  # the turn's last event came
    failure: str = ""

    def is_whole(self, deltas: int) -> bool:
        """All deltas came, each once and in order, and then the end."""
        in_order = all(earlier <= later for earlier, later in zip(self.stamps, self.stamps[1:], strict=False))
        return self.ended and not self.failure and len(self.stamps) == deltas and in_order


def lags(transcripts: list[Transcript], *, all_open: bool = False) -> dict[str, float]:
    """Percentiles of the lags in ms. `all_open`: only of deltas that were written while every stream was open."""
    transcripts = [transcript for transcript in transcripts if transcript.stamps]
    begun = max(transcript.stamps[0] for transcript in transcripts)
    ended = min(transcript.stamps[-1] for transcript in transcripts)
    milliseconds = sorted(
        lag / 1e6
        for transcript in transcripts
        for stamp, lag in zip(transcript.stamps, transcript.lags, strict=True)
        if not all_open or begun <= stamp <= ended
    )
    if not milliseconds:
        return {}
    return {f"p{share}Ms": round(percentile(milliseconds, share / 100), 2) for share in (50, 95, 99)}


def open_at_once(transcripts: list[Transcript]) -> int:
    """The most streams that were between their first and their last delta at one time."""
    steps = sorted(
        step
        for transcript in transcripts
        if transcript.stamps
        for step in ((transcript.stamps[0], 1), (transcript.stamps[-1], -1))
    )
    return max(accumulate(change for _, change in steps))


class Client(asyncio.Protocol):
    """Asks one question over one connection; `done` is set when it no longer needs the connection."""

    def __init__(self, question: Question, host: str, token: str, done: "asyncio.Future[None]") -> None:
        self.transcript = Transcript(question)
        self._host, self._token, self._done = host, token, done
        self._transport: Any
        self._rest = b""

    def connection_made(self, transport: Any) -> None:  # uvloop's transports are no asyncio.Transport
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"the connection closed: {exc}")

    def _record(self, piece: bytes, now: int) -> None:
        stamps = [int(stamp) for stamp in STAMP.findall(piece)]
        transcript = self.transcript
        transcript.frames += 1
        transcript.stamps += stamps
        transcript.lags += [now - stamp for stamp in stamps]
        if transcript.question.leaves_after and len(transcript.stamps) >= transcript.question.leaves_after:
            self._finish()
            self._transport.abort()

    def _finish(self) -> None:
        if not self._done.done():
            self._done.set_result(None)

    def _fail(self, reason: str) -> None:
        if not self._done.done():
            self.transcript.failure = reason
            self._done.set_result(None)
            self._transport.abort()


class Socket(Client):
    """A client over `/ws`. It masks its frames with zeros: that is a valid mask and leaves the text as it is."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._upgraded = False
        self._transport.write(
            f"GET /ws HTTP/1.1\r\nHost: {self._host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        if self._rest:
            data = self._rest + data
        start = 0
        if not self._upgraded:
            start = data.find(b"\r\n\r\n") + 4
            if start < 4:
                self._rest = data
                return
            if b" 101 " not in data[:16]:
                self._fail(data[:300].decode())
                return
            self._upgraded = True
            self._send(json.dumps({"step": "START", "token": self._token}).encode())
        size = len(data)
        while size - start >= 2:
            length, payload = data[start + 1], start + 2
            if length >= 126:
                wide = 2 if length == 126 else 8
                length = int.from_bytes(data[payload : payload + wide], "big")
                payload += wide
            if payload + length > size:
                break
            self._frame(data[start], data[payload : payload + length], now)
            start = payload + length
        self._rest = data[start:]

    def _frame(self, kind: int, payload: bytes, now: int) -> None:
        if kind == 0x89:
            self._send(payload, kind=0x8A)
        elif kind != 0x81:
            self._fail(f"a frame of kind {kind:x}")
        elif payload.startswith(b'{"status":"STREAMING",'):
            self._record(payload, now)
        elif payload == b"Session started.":
            self._send(json.dumps({"step": "BODY", "index": 0, "part": self.transcript.question.body()}).encode())
        elif payload == b"Message part received.":
            self._send(json.dumps({"step": "END", "token": self._token}).encode())
        elif payload.startswith(b'{"status":"STREAMING_END"'):
            self.transcript.ended = True
        elif payload == b"Message sent.":
            self._finish()
            self._transport.close()
        else:
            self._fail(payload.decode())

    def _send(self, payload: bytes, kind: int = 0x81) -> None:
        size = len(payload)
        head = bytes((kind, 128 | size)) if size < 126 else bytes((kind, 254)) + size.to_bytes(2, "big")
        self._transport.write(head + bytes(4) + payload)


class EventStream(Client):
    """A client over SSE. It does not decode chunks: their own lines stand between events and look like none of them."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._accepted = False
        body = self.transcript.question.body()
        self._transport.write(
            f"POST /conversation HTTP/1.1\r\nHost: {self._host}\r\nAuthorization: Bearer {self._token}\r\n"
            "Accept: text/event-stream\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        if self._rest:
            data = self._rest + data
        if not self._accepted:
            if b" 200 " not in data[:16]:
                self._fail(data[:600].decode())
                return
            self._accepted = True
        whole = data.rfind(b"\n\n") + 2
        if whole < 2:
            self._rest = data
            return
        self._rest = data[whole:]
        events = data[:whole]
        if b"event: text\n" in events:
            self._record(events, now)
        if b"event: error\n" in events:
            self._fail(events.decode())
        elif b"event: message_stop\n" in events:
            self.transcript.ended = True
            self._finish()
            self._transport.close()


KINDS: dict[str, type[Client]] = {"ws": Socket, "sse": EventStream}


def run(
    url: str,
    token: str,
    questions: list[Question],
    *,
    over: str,
    opening_seconds: float = 0.0,
    meanwhile: Callable[[], object] | None = None,
) -> list[Transcript]:
    """Asks all questions, spread evenly over `opening_seconds`, and receives each answer to its end.

    `meanwhile` is called four times a second.
    """
    parts = urlsplit(url)

    async def ask(question: Question, after: float) -> Transcript:
        await asyncio.sleep(after)
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        make = lambda: KINDS[over](question, parts.netloc, token, done)  # noqa: E731
        _, client = await loop.create_connection(make, parts.hostname, parts.port)
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await done
        except TimeoutError:
            client.transcript.failure = "it did not end"
        return client.transcript

    async def watch() -> None:
        while meanwhile is not None:
            meanwhile()
            await asyncio.sleep(0.25)

    async def ask_all() -> list[Transcript]:
        watcher = asyncio.create_task(watch())
        gap = opening_seconds / len(questions)
        transcripts = await asyncio.gather(*(ask(question, gap * index) for index, question in enumerate(questions)))
        watcher.cancel()
        return transcripts

    return uvloop.run(ask_all())


def stored(url: str, token: str, transcripts: list[Transcript]) -> Iterator[list[int]]:
    """The stamps in the answers that the API gives for these questions."""
    with contextlib.closing(http.client.HTTPConnection(urlsplit(url).netloc)) as connection:
        for transcript in transcripts:
            path = f"/conversation/{transcript.question.conversation}"
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
            messages = json.load(connection.getresponse())["messageMap"].values()
            answers = (message["content"] for message in messages if message["role"] == "assistant")
            text = "".join(part["body"] for content in answers for part in content)
            yield [int(stamp) for stamp in text.split(".")[:-1]]
