"""Listening to turns as clients do: over Server-Sent Events and over the WebSocket."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx
from websockets.sync.client import ClientConnection, connect

from tests.conversations.chat import payload
from tests.live import LiveServer

PATIENT = httpx.Timeout(60)


class Event(NamedTuple):
    name: str
    data: Any
    id: str


class Listener:
    """An open event stream."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.comments = 0
        self._lines = response.iter_lines()

    def __iter__(self) -> Iterator[Event]:
        fields: dict[str, str] = {}
        for line in self._lines:
            if line.startswith(":"):
                self.comments += 1
            elif line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif fields:
                yield Event(fields.get("event", ""), json.loads(fields["data"]), fields.get("id", ""))
                fields = {}

    def until(self, name: str) -> list[Event]:
        """The events up to the first of that name, which is the last one given."""
        seen = []
        for event in self:
            seen.append(event)
            if event.name == name:
                return seen
        raise AssertionError(f"no {name} among {seen}")


@contextmanager
def listening(
    server: LiveServer, token: str, method: str, path: str, body: Any = None, last: str = ""
) -> Iterator[Listener]:
    headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
    if last:
        headers["Last-Event-ID"] = last
    with httpx.stream(method, server.url + path, json=body, headers=headers, timeout=PATIENT) as response:
        yield Listener(response)


@contextmanager
def asking(server: LiveServer, token: str, conversation: str, content: Any, **fields: Any) -> Iterator[Listener]:
    """A question whose answer is listened to."""
    with listening(server, token, "POST", "/conversation", payload(conversation, content, **fields)) as listener:
        yield listener


@contextmanager
def resuming(server: LiveServer, token: str, conversation: str, question: str, last: str = "") -> Iterator[Listener]:
    with listening(server, token, "GET", f"/conversation/{conversation}/{question}/stream", last=last) as listener:
        yield listener


def ask(server: LiveServer, token: str, conversation: str, content: Any, **fields: Any) -> list[Event]:
    """All events of a turn."""
    with asking(server, token, conversation, content, **fields) as listener:
        assert listener.response.status_code == 200, listener.response.read()
        return list(listener)


def resume(server: LiveServer, token: str, conversation: str, question: str, last: str = "") -> list[Event]:
    with resuming(server, token, conversation, question, last) as listener:
        assert listener.response.status_code == 200, listener.response.read()
        return list(listener)


def text_of(events: list[Event]) -> str:
    return "".join(event.data["text"] for event in events if event.name == "text")


def names(events: list[Event]) -> list[str]:
    """The kinds of events in order, repeated ones once."""
    found: list[str] = []
    for event in events:
        if found[-1:] != [event.name]:
            found.append(event.name)
    return found


# ---- The WebSocket --------------------------------------------------------------------------------------------------


@contextmanager
def socket(server: LiveServer, **options: Any) -> Iterator[ClientConnection]:
    with connect(server.url.replace("http", "ws", 1) + "/ws", open_timeout=10, **options) as opened:
        yield opened


def send(opened: ClientConnection, token: str, body: Any, *, parts: list[str] | None = None) -> None:
    """START, the body and END; the acknowledgements are read."""
    pieces = parts if parts is not None else [json.dumps(body)]
    opened.send(json.dumps({"step": "START", "token": token}))
    assert opened.recv(10) == "Session started."
    for index, part in enumerate(pieces):
        opened.send(json.dumps({"step": "BODY", "index": index, "part": part}))
        assert opened.recv(10) == "Message part received."
    opened.send(json.dumps({"step": "END", "token": token}))


def frames(opened: ClientConnection, timeout: float = 60) -> list[Any]:
    """What is sent up to the end: JSON frames, and the last text as it is."""
    seen: list[Any] = []
    while True:
        message = opened.recv(timeout)
        seen.append(message if message == "Message sent." else json.loads(message))
        if message == "Message sent." or seen[-1]["status"] == "ERROR":
            return seen


def ask_socket(server: LiveServer, token: str, conversation: str, content: Any, **fields: Any) -> list[Any]:
    with socket(server) as opened:
        send(opened, token, payload(conversation, content, **fields))
        return frames(opened)


def completion_of(seen: list[Any]) -> str:
    return "".join(frame["completion"] for frame in seen if isinstance(frame, dict) and frame["status"] == "STREAMING")
