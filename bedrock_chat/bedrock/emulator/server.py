"""HTTP/1.1 over asyncio, as far as boto3 and curl use it: keep-alive, requests with Content-Length, chunked answers.

Each connection is one object without a task, so a thousand paced streams cost little more than their timers.
"""

import asyncio
from typing import NamedTuple

from bedrock_chat.bedrock.emulator import replies
from bedrock_chat.bedrock.emulator.replies import Reply
from bedrock_chat.bedrock.emulator.script import FOR_EVER
from bedrock_chat.bedrock.emulator.service import Bedrock, LoggedRequest

MAX_HEAD = 64 * 1024
MAX_BODY = 512 * 1024 * 1024
BACKLOG = 2048


class Head(NamedTuple):
    method: str
    path: str
    size: int
    keep: bool
    expects_continue: bool


class BadRequestHead(ValueError):
    """The request is not HTTP as this server understands it. `status` is the status of the response."""

    def __init__(self, status: int, sentence: str) -> None:
        self.status = status
        super().__init__(sentence)


async def listen(bedrock: Bedrock, host: str, port: int) -> asyncio.Server:
    """A server that accepts connections. Raises OSError if it cannot listen on the address."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: Connection(bedrock, loop), host, port, backlog=BACKLOG)


class Connection(asyncio.Protocol):
    """The connection of one peer. It reads a request, plays the reply, and then reads the next request."""

    def __init__(self, bedrock: Bedrock, loop: asyncio.AbstractEventLoop) -> None:
        self._bedrock = bedrock
        self._loop = loop
        self._transport: asyncio.Transport
        self._buffer = bytearray()
        self._head: Head | None = None
        self._entry: LoggedRequest | None = None
        self._reply: Reply | None = None
        self._keep = True
        self._next_step = 0
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer:
            self._timer.cancel()
        if self._entry and self._entry.outcome == "running":
            self._entry.outcome = "left"

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._reply is None:
            self._read()

    # ---- Requests ----

    def _read(self) -> None:
        """Answers the next request once all of it is in the buffer."""
        try:
            if self._head is None:
                self._head = self._read_head()
                if self._head is None:
                    return
                if self._head.expects_continue:
                    self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        except BadRequestHead as error:
            self._play(replies.as_json({"message": str(error)}, error.status), keep=False)
            return
        head = self._head
        if len(self._buffer) < head.size:
            return
        body = bytes(self._buffer[: head.size])
        del self._buffer[: head.size]
        self._head = None
        reply, self._entry = self._bedrock.answer(head.method, head.path, body)
        self._play(reply, keep=head.keep and reply.keep)

    def _read_head(self) -> Head | None:
        """Takes the request's head out of the buffer. None if it is not complete. Raises BadRequestHead."""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > MAX_HEAD:
                raise BadRequestHead(431, "The request's head is too long.")
            return None
        request_line, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        try:
            method, path, version = request_line.split(" ")
        except ValueError:
            raise BadRequestHead(400, "This is not HTTP.") from None
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if "transfer-encoding" in fields:
            raise BadRequestHead(411, "Chunked requests are not understood; send a Content-Length.")
        size = fields.get("content-length", "0")
        if not (size.isascii() and size.isdigit()):
            raise BadRequestHead(400, "Content-Length is no number.")
        if int(size) > MAX_BODY:
            raise BadRequestHead(413, "The request is too long.")
        keep = version == "HTTP/1.1" and fields.get("connection", "").lower() != "close"
        return Head(method, path, int(size), keep, fields.get("expect", "").lower() == "100-continue")

    # ---- Replies ----

    def _play(self, reply: Reply, *, keep: bool) -> None:
        self._reply, self._keep, self._next_step = reply, keep, 0
        self._due = self._loop.time()
        self._advance(waited=False)

    def _advance(self, *, waited: bool = True) -> None:
        """Writes the steps up to the next wait. `waited`: the wait of the next step is over.

        A step is due relative to when the step before was due, not to when it was written, so a pace does not drift.
        """
        assert self._reply is not None
        self._timer = None
        steps = self._reply.steps
        pending: list[bytes] = []
        while self._next_step < len(steps):
            delay, data = steps[self._next_step]
            if delay and not waited:
                self._write(pending)
                if delay != FOR_EVER:
                    self._due += delay
                    self._timer = self._loop.call_at(self._due, self._advance)
                return
            waited = False
            pending.append(data)
            self._next_step += 1
        self._write(pending)
        self._finish()

    def _write(self, pending: list[bytes]) -> None:
        if data := b"".join(pending):
            self._transport.write(data)

    def _finish(self) -> None:
        if self._entry:
            self._entry.outcome = "done"
        self._reply = self._entry = None
        if not self._keep:
            self._transport.close()
        elif self._buffer:
            self._loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        if self._reply is None and not self._transport.is_closing():
            self._read()
