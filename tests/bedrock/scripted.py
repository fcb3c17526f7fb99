"""A server in Bedrock's place that sends exactly the bytes that a test wrote, even those that no real server sends."""

import json
import struct
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


def frame(headers: dict[str, str], payload: bytes) -> bytes:
    """One message in the encoding of `application/vnd.amazon.eventstream`."""
    encoded = b"".join(
        struct.pack(">B", len(name)) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack(">II", len(payload) + len(encoded) + 16, len(encoded))
    prelude += struct.pack(">I", zlib.crc32(prelude))
    message = prelude + encoded + payload
    return message + struct.pack(">I", zlib.crc32(message))


def event(kind: str, **payload: Any) -> bytes:
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return frame(headers, json.dumps(payload).encode())


def exception(kind: str, message: str = "It went wrong.") -> bytes:
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return frame(headers, json.dumps({"message": message}).encode())


def delta(text: str, index: int = 0) -> bytes:
    return event("contentBlockDelta", contentBlockIndex=index, delta={"text": text})


def reasoning(part: dict[str, Any], index: int = 0) -> bytes:
    return event("contentBlockDelta", contentBlockIndex=index, delta={"reasoningContent": part})


def tool_use(*fragments: str, index: int = 0) -> bytes:
    start = {"toolUse": {"toolUseId": "tool-1", "name": "search"}}
    return b"".join(
        (
            event("contentBlockStart", contentBlockIndex=index, start=start),
            *(
                event("contentBlockDelta", contentBlockIndex=index, delta={"toolUse": {"input": fragment}})
                for fragment in fragments
            ),
            stop_block(index),
        )
    )


def stop_block(index: int = 0) -> bytes:
    return event("contentBlockStop", contentBlockIndex=index)


def stop(reason: str = "end_turn") -> bytes:
    return event("messageStop", stopReason=reason)


USAGE = {"inputTokens": 11, "outputTokens": 7, "totalTokens": 23, "cacheReadInputTokens": 3, "cacheWriteInputTokens": 2}
START = event("messageStart", role="assistant")
METADATA = event("metadata", usage=USAGE, metrics={"latencyMs": 5})
HELLO = (START, delta("Hel"), delta("lo"), stop_block(), stop(), METADATA)


@dataclass(frozen=True)
class Stream:
    """An answer of ConverseStream. `ends`: "well", "cut" (inside the chunked body), "closed" (no chunks), "silent"."""

    frames: tuple[bytes, ...] = HELLO
    ends: str = "well"


@dataclass(frozen=True)
class Whole:
    """An answer of Converse, or an error of both. `ends`: "well", "cut" (in mid-body), "silent" (no headers come)."""

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    ends: str = "well"


def says(*blocks: dict[str, Any], stop_reason: str = "end_turn", **members: Any) -> Whole:
    message = {"role": "assistant", "content": list(blocks)}
    return Whole(
        {"output": {"message": message}, "stopReason": stop_reason, "usage": USAGE, "metrics": {"latencyMs": 5}}
        | members
    )


def refuses(code: str, status: int, message: str = "It went wrong.", **headers: str) -> Whole:
    named = {"x-amzn-ErrorType": code} if code else {}
    return Whole({"message": message}, status, {**named, **{name.replace("_", "-"): v for name, v in headers.items()}})


Play = Stream | Whole


class ScriptedBedrock:
    """Answers each request with the next entry of `script`, and repeats the last one. A context manager."""

    def __init__(self) -> None:
        self.script: list[Play] = []
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.connections = 0
        self.stopped = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def play(self, *plays: Play) -> None:
        self.script[:] = plays

    def next(self) -> Play:
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Prints nothing: in some tests the client closes its connection."""


def _handler(bedrock: ScriptedBedrock) -> Callable[..., BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self) -> None:
            bedrock.connections += 1
            super().setup()

        def log_message(self, *_: Any) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            bedrock.requests.append((self.path, dict(self.headers), body))
            play = bedrock.next()
            if isinstance(play, Stream):
                self.stream(play)
            else:
                self.whole(play)

        def whole(self, play: Whole) -> None:
            if play.ends == "silent":
                bedrock.stopped.wait(30)
                self.close_connection = True
                return
            body = play.body if isinstance(play.body, bytes) else json.dumps(play.body).encode()
            self.send_response(play.status)
            for name, value in {"Content-Type": "application/json", **play.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if play.ends == "cut" else body)
            self.close_connection = play.ends == "cut"

        def stream(self, play: Stream) -> None:
            chunked = play.ends != "closed"
            self.send_response(200)
            self.send_header("Content-Type", "application/vnd.amazon.eventstream")
            self.send_header(*(("Transfer-Encoding", "chunked") if chunked else ("Connection", "close")))
            self.end_headers()
            for piece in play.frames:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
            if play.ends == "well":
                self.wfile.write(b"0\r\n\r\n")
            elif play.ends == "silent":
                bedrock.stopped.wait(30)
            self.close_connection = play.ends != "well"

    return Handler
