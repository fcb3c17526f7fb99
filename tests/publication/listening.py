"""Listening to published answers, in tests."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from rest_framework.test import APIClient

from publication.streaming import hosting
from tests.conversations.chat import text_of as text_stored
from tests.listening import Event, names
from tests.publication.api import Api
from tests.together import wait_for

SLOW = "[[words:9]] [[pace:0.05]]"
WORDS = 9


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Every turn that a test has had run here has ended, and is forgotten."""
    yield
    wait_for(lambda: not hosting._logs)
    assert not hosting._waiting
    assert not len(hosting.CLAIMS)


def ids_of(events: list[Event]) -> tuple[str, str]:
    return events[0].data["conversationId"], events[0].data["messageId"]


def after_waiting(events: list[Event]) -> list[str]:
    """The names of the events without `waiting`, which a client hears that asks before a worker does."""
    return names([event for event in events if event.name != "waiting"])


def kept(api: Api, conversation: str, message: str) -> tuple[int, str, str]:
    """Status, X-Turn-Status and the text or sentence of a question's answer."""
    answer = api.answer(conversation, message)
    shown = answer.json()
    text = text_stored(shown["message"]) if answer.status_code == 200 else shown["detail"]
    return answer.status_code, answer.headers["X-Turn-Status"], text


class Listening:
    """A client on a thread of its own, with a connection of its own."""

    def __init__(
        self, api: Api, text: str, *, resuming: tuple[str, str] | None = None, last: str = "", **fields: Any
    ) -> None:
        self.events: list[Event] = []
        own = Api(api.path, api.key, APIClient())
        listen = (lambda: own.resume(*resuming, last)) if resuming else (lambda: own.listen(text, **fields))
        self._thread = threading.Thread(target=self._listen, args=(listen,))
        self._thread.start()

    def _listen(self, listen: Callable[[], list[Event]]) -> None:
        try:
            self.events = listen()
        finally:
            connection.close()

    def end(self) -> list[Event]:
        self._thread.join(20)
        assert not self._thread.is_alive()
        return self.events
