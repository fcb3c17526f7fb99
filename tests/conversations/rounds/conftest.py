"""Alice, who may make bots, and turns whose process is gone."""

import contextlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from bedrock_chat.bedrock import catalog
from bedrock_chat.identity import local
from bedrock_chat.identity.caller import Caller
from conversations.content.blocks import Content
from conversations.models import Message
from conversations.turn import checkpoints, lifecycle
from conversations.turn.types import ChatInput, TurnEvent
from tests import build
from tests.conversations.chat import MODEL

ClientOf = Callable[..., APIClient]


@pytest.fixture
def alice(client_of: ClientOf) -> APIClient:
    return client_of("alice", "CreatingBotAllowed")


def chat_of(prompt: str, **fields: Any) -> ChatInput:
    fields = {"message_external_id": "q1", "bot_id": "b", **fields}
    return ChatInput("c1", catalog.find(fields.pop("model", MODEL)), Content(build.text(prompt), {}), **fields)


@pytest.fixture
def killed() -> Iterator[Callable[..., list[TurnEvent]]]:
    """Runs a turn of Alice's up to an event of a kind, and no further, as if its process had been killed there."""
    abandoned: list[Any] = []

    def run(prompt: str, at: type, nth: int = 1, *, listened: bool = False, **fields: Any) -> list[TurnEvent]:
        actor = Caller(user_id=local.local_user("alice").pk, groups=frozenset({"CreatingBotAllowed"}))
        events = lifecycle.run(chat_of(prompt, **fields), actor=actor, listener=object() if listened else None)
        abandoned.append(events)
        seen: list[TurnEvent] = []
        for event in events:
            seen.append(event)
            if listened:
                checkpoints.write()
            nth -= isinstance(event, at)
            if not nth:
                break
        Message.objects.filter(lease_expires_at__isnull=False).update(
            lease_expires_at=timezone.now() - timedelta(seconds=1)
        )
        return seen

    yield run
    for events in abandoned:
        with contextlib.suppress(Exception):
            events.close()
