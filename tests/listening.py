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
        """The events up to and including the first of that name. Raises AssertionError if none comes."""
        events = []
        for event in self:
            events.append(event)
            if event.name == name:
                return events
        raise AssertionError(f"no {name} among {events}")


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
    """Asks a question and listens to its answer."""
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
    """The names of the events in order. A name that follows itself is listed once."""
    event_names: list[str] = []
    for event in events:
        if event_names[-1:] != [event.name]:
            event_names.append(event.name)
    return event_names


# ---- The WebSocket --------------------------------------------------------------------------------------------------


@contextmanager
def socket(server: LiveServer, **options: Any) -> Iterator[ClientConnection]:
    with connect(server.url.replace("http", "ws", 1) + "/ws", open_timeout=10, **options) as websocket:
        yield websocket


def send(websocket: ClientConnection, token: str, body: Any, *, parts: list[str] | None = None) -> None:
    """Sends START, the body and END. Reads the acknowledgements of START and of the body."""
    pieces = parts if parts is not None else [json.dumps(body)]
    websocket.send(json.dumps({"step": "START", "token": token}))
    assert websocket.recv(10) == "Session started."
    for index, part in enumerate(pieces):
        websocket.send(json.dumps({"step": "BODY", "index": index, "part": part}))
        assert websocket.recv(10) == "Message part received."
    websocket.send(json.dumps({"step": "END", "token": token}))


def frames(websocket: ClientConnection, timeout: float = 60) -> list[Any]:
    """All frames up to `Message sent.` or an ERROR: parsed JSON, and `Message sent.` as the text it is."""
    received: list[Any] = []
    while True:
        message = websocket.recv(timeout)
        received.append(message if message == "Message sent." else json.loads(message))
        if message == "Message sent." or received[-1]["status"] == "ERROR":
            return received


def ask_socket(server: LiveServer, token: str, conversation: str, content: Any, **fields: Any) -> list[Any]:
    with socket(server) as websocket:
        send(websocket, token, payload(conversation, content, **fields))
        return frames(websocket)


def completion_of(received: list[Any]) -> str:
    return "".join(
        frame["completion"] for frame in received if isinstance(frame, dict) and frame["status"] == "STREAMING"
    )
