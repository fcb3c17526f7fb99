"""Titles: proposed by a model, never stored unasked, and there even when the model is not."""

from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from bedrock_chat.identity.models import User
from conversations.models import ModelCall
from tests import build
from tests.conversations.chat import read, say
from tests.emulator import Emulator

pytestmark = [pytest.mark.django_db(transaction=True)]
ClientOf = Callable[..., APIClient]


def proposed(client: APIClient, conversation: str = "c1") -> str:
    response = client.get(f"/conversation/{conversation}/proposed-title")
    assert response.status_code == 200, response.content
    title: str = response.json()["title"]
    return title


@pytest.fixture
def alice(client_of: ClientOf, emulator: Emulator) -> APIClient:
    client = client_of("alice")
    say(client, "c1", "Wie backe ich Brot?")
    return client


def test_the_title_model_is_asked_and_nothing_is_stored(alice: APIClient, emulator: Emulator, settings: Any) -> None:
    emulator.script(text='"Brot backen."\nThis is a fitting title.')
    assert proposed(alice) == "Brot backen"
    assert read(alice, "c1")["title"] == "New conversation"
    call = ModelCall.objects.get(purpose="title")
    assert (call.model, call.conversation_id) == (settings.TITLE_MODEL, "c1")
    asked = emulator.requests()[-1]["body"]
    assert [message["role"] for message in asked["messages"]] == ["user", "assistant", "user"]
    assert "cachePoint" not in str(asked)


@pytest.mark.parametrize("script", [{"fault": "AccessDeniedException"}, {"text": " \n"}, {}])
def test_where_the_model_fails_the_question_is_the_title(
    alice: APIClient, emulator: Emulator, script: dict[str, str]
) -> None:
    emulator.script(**script)
    assert proposed(alice) == "Wie backe ich Brot?"


def test_a_rambling_model_is_cut(alice: APIClient, emulator: Emulator) -> None:
    emulator.script(text="word " * 100)
    assert len(proposed(alice)) <= 100


def test_a_conversation_whose_only_question_failed_has_a_title_too(alice: APIClient, emulator: Emulator) -> None:
    made = build.conversation(User.objects.get(username="alice"), "c2")
    build.question(made, "Is anybody there?", outcome="failed")
    emulator.script(text="Calling out")
    assert proposed(alice, "c2") == "Calling out"


def test_a_client_gives_the_title(alice: APIClient) -> None:
    assert alice.patch("/conversation/c1/title", {"newTitle": "Brot"}, format="json").json() is None
    assert read(alice, "c1")["title"] == "Brot"
    for refused in ({}, {"newTitle": ""}, {"newTitle": 5}, {"newTitle": "x" * 1001}):
        assert alice.patch("/conversation/c1/title", refused, format="json").status_code == 400
