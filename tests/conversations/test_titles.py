"""Titles: a model proposes them, only the client stores them, and there is one even when the model fails."""

from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from bedrock_chat.identity.models import User
from bedrock_chat.ledger.models import ModelCall
from conversations.models import Conversation
from conversations.titles import proposing
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
    assert (call.model, call.conversation_external_id) == (settings.TITLE_MODEL, "c1")
    request = emulator.requests()[-1]["body"]
    assert [message["role"] for message in request["messages"]] == ["user", "assistant", "user"]
    assert "cachePoint" not in str(request)


@pytest.mark.parametrize(
    "script",
    [
        {"fault": "AccessDeniedException"},
        {"fault": "ValidationException"},
        {"cut": True},
        {"text": " \n"},
        {"text": "“…”"},
        {"text": "I'm sorry, but I can't propose a title for that."},
        {"text": '{"title": "Brot backen"}'},
        {"tools": [{"name": "title", "input": {"text": "Brot backen"}}]},
        {},
    ],
)
def test_where_the_model_fails_the_question_is_the_title(
    alice: APIClient, emulator: Emulator, script: dict[str, Any]
) -> None:
    emulator.script(**script)
    assert proposed(alice) == "Wie backe ich Brot?"


def test_a_rambling_model_is_cut(alice: APIClient, emulator: Emulator) -> None:
    emulator.script(text="word " * 30)
    assert proposed(alice) == "word " * 19 + "word…"
    assert emulator.requests()[-1]["body"]["inferenceConfig"]["maxTokens"] == proposing.MOST_TOKENS


def test_a_model_that_cannot_stop_thinking_has_room_for_it(alice: APIClient, emulator: Emulator, settings: Any) -> None:
    settings.TITLE_MODEL = "gpt-oss-20b"
    emulator.script(text="Brot backen", thinks=8_000)
    assert proposed(alice) == "Brot backen"
    assert emulator.requests()[-1]["body"]["inferenceConfig"]["maxTokens"] == proposing.MOST_TOKENS + 8192


def test_a_model_that_says_nothing_is_not_waited_for(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proposing, "LONGEST_WAIT", 0.3)
    emulator.script(silence=True)
    assert proposed(alice) == "Wie backe ich Brot?"
    assert ModelCall.objects.get(purpose="title").fault == "TooLate"


def test_the_title_is_asked_for_in_the_language_of_the_conversation(alice: APIClient, emulator: Emulator) -> None:
    say(alice, "c2", "パンの焼き方を教えてください。")
    emulator.script(text="タイトル：「パンの焼き方」")
    assert proposed(alice, "c2") == "パンの焼き方"
    *conversation, instruction = emulator.requests()[-1]["body"]["messages"]
    assert conversation[0]["content"] == [{"text": "パンの焼き方を教えてください。"}]
    assert "in the language of the conversation" in instruction["content"][0]["text"]
    emulator.script(fault="AccessDeniedException")
    assert proposed(alice, "c2") == "パンの焼き方を教えてください。"


@pytest.mark.parametrize(
    ("title", "expected"), [("Pictures", "Pictures"), (" ", "New conversation"), ("x" * 1000, "x" * 99 + "…")]
)
def test_a_conversation_of_pictures_keeps_its_title_and_never_has_none(
    alice: APIClient, emulator: Emulator, png: str, title: str, expected: str
) -> None:
    image = {"contentType": "image", "mediaType": "image/png", "body": png}
    emulator.script(fault="AccessDeniedException")
    say(alice, "c2", [image], model="claude-v4.5-sonnet")
    Conversation.objects.filter(external_id="c2").update(title=title)  # an earlier version took a blank one
    assert proposed(alice, "c2") == expected


def test_an_empty_conversation_has_its_title(alice: APIClient, emulator: Emulator) -> None:
    build.conversation(User.objects.get(username="alice"), "c2")
    emulator.clear_requests()
    assert proposed(alice, "c2") == "New conversation"
    assert emulator.requests() == []


def test_a_conversation_whose_only_question_failed_has_a_title_too(alice: APIClient, emulator: Emulator) -> None:
    conversation = build.conversation(User.objects.get(username="alice"), "c2")
    build.question(conversation, "Is anybody there?", outcome="failed")
    emulator.script(text="Calling out")
    assert proposed(alice, "c2") == "Calling out"


def test_a_client_gives_the_title(alice: APIClient) -> None:
    assert alice.patch("/conversation/c1/title", {"newTitle": "Brot"}, format="json").json() is None
    assert read(alice, "c1")["title"] == "Brot"
    for body in ({}, {"newTitle": ""}, {"newTitle": 5}, {"newTitle": "x" * 1001}):
        assert alice.patch("/conversation/c1/title", body, format="json").status_code == 400
