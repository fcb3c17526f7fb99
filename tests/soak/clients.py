"""Clients of a server that is being killed: they ask, stop, edit and delete, retry as the documentation says, and
remember what they were told.
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
class Told:
    """One question and what its client was told of it in the end."""

    user: str
    conversation: str
    question: str
    content: list[dict[str, Any]]
    how: str
    text: str | None = None  # None: there is no answer
    answer: str | None = None
    stop_reason: str = ""
    tries: int = 0
    problem: str = ""


@dataclass
class Record:
    """All that the clients of a run were told."""

    told: list[Told] = field(default_factory=list)
    deleted: set[tuple[str, str]] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, told: Told) -> None:
        with self.lock:
            self.told.append(told)


class Again(Exception):
    """Nothing was decided: ask again, under the same id, after so many seconds."""

    def __init__(self, seconds: float = 0.3) -> None:
        self.seconds = seconds


class Person:
    """Somebody with a token, who finds any of the servers that are up."""

    def __init__(self, name: str, token: str, urls: list[str], record: Record, seed: int) -> None:
        self.name, self.token, self.urls, self.record = name, token, urls, record
        self.random = random.Random(seed)
        self.http = httpx.Client(timeout=30, headers={"Authorization": f"Bearer {token}"})

    @property
    def url(self) -> str:
        return self.random.choice(self.urls)

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Until some server answers with less than a 500."""
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

    def ask(self, conversation: str, text: str, parent: str | None, how: str, **options: Any) -> Told:
        """Asks until there is an answer, or none and that is certain."""
        content: list[dict[str, Any]] = [{"contentType": "text", "body": text}]
        if self.random.random() < 0.15:
            content.append({"contentType": "image", "mediaType": "image/png", "body": self._image()})
        question = f"q{self.random.getrandbits(64):016x}"
        told = Told(self.name, conversation, question, content, how)
        message = {"content": content, "model": MODEL, "messageId": question, "parentMessageId": parent}
        body = {"conversationId": conversation, "message": message}
        end = time.monotonic() + PATIENCE
        attempt = {"rest": self._rest, "sse": self._sse, "ws": self._ws}[how]
        while True:
            told.tries += 1
            try:
                attempt(body, told, **options)
                break
            except Again as again:
                time.sleep(again.seconds)
            except (httpx.HTTPError, WebSocketException, OSError):
                time.sleep(0.3)
            if time.monotonic() > end:
                told.problem = f"no end after {told.tries} tries"
                break
        self.record.add(told)
        return told

    # ---- REST ----

    def _rest(self, body: Any, told: Told, **_: Any) -> None:
        response = self.http.post(f"{self.url}/conversation", json=body)
        if response.status_code == 200:
            message = response.json()["message"]
            told.text = "".join(part["body"] for part in message["content"] if part["contentType"] == "text")
            told.stop_reason = message.get("stopReason", "end")
            return
        self._refused(response.status_code, response.json(), told, response.headers.get("Retry-After"))

    def _refused(self, status: int, body: Any, told: Told, after: str | None = None) -> None:
        """What the documentation says to do about a status."""
        if status in (409, 429, 502, 503, 504) and "stopped" not in body["detail"]:
            raise Again(min(2.0, float(after or 0.3)))
        if status in (404, 409):  # deleted meanwhile, or stopped before any word
            told.stop_reason = "none"
            return
        told.problem = f"{status}: {body['detail']}"

    # ---- Server-Sent Events ----

    def _sse(self, body: Any, told: Told, *, stop_after: int = 0) -> None:
        last, text, begun = "", "", False
        stream = f"/conversation/{told.conversation}/{told.question}"
        for _ in range(6):
            ways = ("GET", f"{stream}/stream", None) if begun else ("POST", "/conversation", body)
            headers = {"Accept": "text/event-stream", "Last-Event-ID": last}
            try:
                with self.http.stream(ways[0], self.url + ways[1], json=ways[2], headers=headers) as response:
                    if response.status_code != 200:
                        self._refused(response.status_code, json.loads(response.read()), told)
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
                            told.text = text if data["answerId"] else None
                            told.answer, told.stop_reason = data["answerId"], data["stopReason"]
                            return
                        elif name == "error" and not data.get("resume"):
                            raise Again
            except (httpx.HTTPError, OSError):
                time.sleep(0.3)
        raise Again

    # ---- The WebSocket ----

    def _ws(self, body: Any, told: Told, **_: Any) -> None:
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
                said = json.loads(frame)
                if said["status"] == "STREAMING":
                    text += said["completion"]
                elif said["status"] == "STREAMING_END":
                    told.text, told.stop_reason = text, said["stop_reason"]
                    if told.stop_reason == "stopped" and not text:
                        told.text = None
                    return
                elif said["status"] == "ERROR":
                    if "deleted" in said["reason"]:
                        told.stop_reason = "none"
                        return
                    raise Again

    def _image(self) -> str:
        """A small picture that few others have."""
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
