"""Clients of a server that is being killed: they ask, stop, edit and delete, retry as the documentation says, and
record what they received.
"""

import base64
import json
import random
import threading
import time
import zlib
from dataclasses import dataclass, field
from typing import Any

import httpx
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

MODEL = "claude-v3.7-sonnet"
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PNG_END = 12  # bytes of the last chunk
PATIENCE = 90.0
"""Seconds after which a client gives up on a question, which is then a finding."""


@dataclass
class Exchange:
    """One question and what its client received for it in the end."""

    user: str
    conversation: str
    question: str
    content: list[dict[str, Any]]
    transport: str
    text: str | None = None  # None: there is no answer
    answer: str | None = None
    stop_reason: str = ""
    tries: int = 0
    problem: str = ""


@dataclass
class Record:
    """All that the clients of a run received, and the conversations that they deleted."""

    exchanges: list[Exchange] = field(default_factory=list)
    deleted: set[tuple[str, str]] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, exchange: Exchange) -> None:
        with self.lock:
            self.exchanges.append(exchange)


class Again(Exception):
    """The question has no answer yet: ask again, under the same id, after so many seconds."""

    def __init__(self, seconds: float = 0.3) -> None:
        self.seconds = seconds


class Person:
    """A client with a token. It picks one of the servers at random for each request."""

    def __init__(self, name: str, token: str, urls: list[str], record: Record, seed: int) -> None:
        self.name, self.token, self.urls, self.record = name, token, urls, record
        self.random = random.Random(seed)
        self.http = httpx.Client(timeout=30, headers={"Authorization": f"Bearer {token}"})

    @property
    def url(self) -> str:
        return self.random.choice(self.urls)

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Tries until a server answers with a status below 500. Raises TimeoutError after PATIENCE seconds."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                response = self.http.request(method, self.url + path, json=body)
            except httpx.HTTPError:
                time.sleep(0.2)
                continue
            if response.status_code < 500:
                return response.status_code, response.json()
            time.sleep(0.3)
        raise TimeoutError(f"{method} {path}")

    def ask(self, conversation: str, text: str, parent: str | None, transport: str, **options: Any) -> Exchange:
        """Asks until there is an answer, or until it is certain that there is none. Adds the exchange to the record."""
        content: list[dict[str, Any]] = [{"contentType": "text", "body": text}]
        if self.random.random() < 0.15:
            content.append({"contentType": "image", "mediaType": "image/png", "body": self._image()})
        question = f"q{self.random.getrandbits(64):016x}"
        exchange = Exchange(self.name, conversation, question, content, transport)
        message = {"content": content, "model": MODEL, "messageId": question, "parentMessageId": parent}
        body = {"conversationId": conversation, "message": message}
        end = time.monotonic() + PATIENCE
        attempt = {"rest": self._rest, "sse": self._sse, "ws": self._ws}[transport]
        while True:
            exchange.tries += 1
            try:
                attempt(body, exchange, **options)
                break
            except Again as again:
                time.sleep(again.seconds)
            except (httpx.HTTPError, WebSocketException, OSError):
                time.sleep(0.3)
            if time.monotonic() > end:
                exchange.problem = f"no end after {exchange.tries} tries"
                break
        self.record.add(exchange)
        return exchange

    # ---- REST ----

    def _rest(self, body: Any, exchange: Exchange, **_: Any) -> None:
        response = self.http.post(f"{self.url}/conversation", json=body)
        if response.status_code == 200:
            message = response.json()["message"]
            exchange.text = "".join(part["body"] for part in message["content"] if part["contentType"] == "text")
            exchange.stop_reason = message.get("stopReason", "end")
            return
        self._refused(response.status_code, response.json(), exchange, response.headers.get("Retry-After"))

    def _refused(self, status: int, body: Any, exchange: Exchange, after: str | None = None) -> None:
        """Does what the documentation says for a status. Raises Again where it says to retry."""
        if status in (409, 429, 502, 503, 504) and "stopped" not in body["detail"]:
            raise Again(min(2.0, float(after or 0.3)))
        if status in (404, 409):  # deleted meanwhile, or stopped before the first word
            exchange.stop_reason = "none"
            return
        exchange.problem = f"{status}: {body['detail']}"

    # ---- Server-Sent Events ----

    def _sse(self, body: Any, exchange: Exchange, *, stop_after: int = 0) -> None:
        """Asks over SSE. With `stop_after`, stops the turn after so many characters.

        1. Post the question and read the events, up to `message_stop`.
        2. If the stream ends before, connect again, up to six times in all. Once an event has come, this reads the
           question's stream from the last event's id on.
        3. Raise Again after an `error` that is not to be resumed, and after the last connection.
        """
        last, text, begun = "", "", False
        stream = f"/conversation/{exchange.conversation}/{exchange.question}"
        for _ in range(6):
            ways = ("GET", f"{stream}/stream", None) if begun else ("POST", "/conversation", body)
            headers = {"Accept": "text/event-stream", "Last-Event-ID": last}
            try:
                with self.http.stream(ways[0], self.url + ways[1], json=ways[2], headers=headers) as response:
                    if response.status_code != 200:
                        self._refused(response.status_code, json.loads(response.read()), exchange)
                        return
                    for name, event_id, data in events(response):
                        last, begun = event_id or last, True
                        if name == "message_start":
                            text = ""
                        elif name == "text":
                            text += data["text"]
                            if stop_after and len(text) >= stop_after:
                                stop_after = 0
                                self.http.post(f"{self.url}{stream}/stop")
                        elif name == "message_stop":
                            exchange.text = text if data["answerId"] else None
                            exchange.answer, exchange.stop_reason = data["answerId"], data["stopReason"]
                            return
                        elif name == "error" and not data.get("resume"):
                            raise Again
            except (httpx.HTTPError, OSError):
                time.sleep(0.3)
        raise Again

    # ---- The WebSocket ----

    def _ws(self, body: Any, exchange: Exchange, **_: Any) -> None:
        """Asks over the WebSocket: sends the body in parts, then reads frames to the end.

        Raises Again after an ERROR, unless the conversation was deleted.
        """
        text = ""
        raw = json.dumps(body)
        with connect(self.url.replace("http", "ws", 1) + "/ws", open_timeout=5) as opened:
            opened.send(json.dumps({"step": "START", "token": self.token}))
            for number, start in enumerate(range(0, len(raw), 32_768)):
                opened.send(json.dumps({"step": "BODY", "index": number, "part": raw[start : start + 32_768]}))
            opened.send(json.dumps({"step": "END", "token": self.token}))
            while True:
                frame = opened.recv(60)
                if not str(frame).startswith("{"):
                    continue
                message = json.loads(frame)
                if message["status"] == "STREAMING":
                    text += message["completion"]
                elif message["status"] == "STREAMING_END":
                    exchange.text, exchange.stop_reason = text, message["stop_reason"]
                    if exchange.stop_reason == "stopped" and not text:
                        exchange.text = None
                    return
                elif message["status"] == "ERROR":
                    if "deleted" in message["reason"]:
                        exchange.stop_reason = "none"
                        return
                    raise Again

    def _image(self) -> str:
        """A small picture in base64 that few other messages have."""
        comment = b"tEXt" + b"soak\0%d" % self.random.getrandbits(16 if self.random.random() < 0.5 else 64)
        chunk = (len(comment) - 4).to_bytes(4) + comment + zlib.crc32(comment).to_bytes(4)
        return base64.b64encode(PNG[:-PNG_END] + chunk + PNG[-PNG_END:]).decode()


def events(response: httpx.Response) -> Any:
    fields: dict[str, str] = {}
    for line in response.iter_lines():
        name, _, value = line.partition(": ")
        if line and name:
            fields[name] = value
        elif fields.get("data"):
            yield fields["event"], fields.get("id", ""), json.loads(fields["data"])
            fields = {}
