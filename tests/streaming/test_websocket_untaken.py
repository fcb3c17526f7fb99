"""A client of the WebSocket that takes nothing of what it is sent, while no answer is on its way."""

import asyncio
from typing import Any

import pytest

from bedrock_chat.serving.outflow import OUTFLOW
from conversations.streaming.websocket import session
from conversations.streaming.websocket.session import Session


class Untaken:
    """A connection whose client has sent a message, and whose buffers are full once it is open."""

    def __init__(self) -> None:
        self.events = [{"type": "websocket.connect"}, {"type": "websocket.receive", "text": "[]"}]
        self.is_aborted = False

    async def receive(self) -> dict[str, Any]:
        return self.events.pop(0)

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] != "websocket.accept":
            await asyncio.Event().wait()

    def abort(self) -> None:
        self.is_aborted = True


def test_who_takes_no_confirmation_and_no_error_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "FLOOR_SECONDS", 0.05)
    client = Untaken()
    scope = {"path": "/ws", "extensions": {OUTFLOW: client}}
    asyncio.run(asyncio.wait_for(Session(scope, {}, client.receive, client.send).run(), 5))
    assert client.is_aborted
