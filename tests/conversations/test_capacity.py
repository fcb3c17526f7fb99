"""How much a conversation holds, and how much of it is made at once."""

import base64
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from rest_framework.test import APIClient

from bedrock_chat.blobs.models import Blob
from bedrock_chat.identity.models import User
from bedrock_chat.process.budget import Budget
from bedrock_chat.serving import answers
from conversations import rendering
from conversations.models import Conversation, Message, Outcome
from conversations.turn import capacity
from tests import build
from tests.conversations.chat import payload, say
from tests.emulator import Emulator

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True)]
ClientOf = Callable[..., APIClient]
MEGABYTE = 1024 * 1024


def size_of(external_id: str) -> int:
    size = Conversation.objects.get(external_id=external_id).size
    assert size is not None
    return size


def test_its_size_is_that_of_its_messages_and_files(client_of: ClientOf, emulator: Emulator, png: str) -> None:
    alice = client_of("alice")
    image = {"contentType": "image", "mediaType": "image/png", "body": png}
    say(alice, "c1", [image, {"contentType": "text", "body": "what is this?"}])
    say(alice, "c1", "and that?")
    contents = [message.content for message in Message.objects.filter(conversation__external_id="c1")]
    stored = sum(len(orjson.dumps(content)) for content in contents)
    assert len(contents) == 4
    assert size_of("c1") == stored + len(base64.b64decode(png))


def test_a_continued_answer_counts_what_was_added(client_of: ClientOf, emulator: Emulator) -> None:
    alice = client_of("alice")
    first = say(alice, "c1", "[[words:200]]", model="claude-v3.7-sonnet").json()
    before = size_of("c1")
    Message.objects.filter(role="assistant").update(stop_reason="max_tokens")
    last = alice.get("/conversation/c1").json()["lastMessageId"]
    assert first["conversationId"] == "c1"
    continued = say(alice, "c1", [], parent=last, continue_generate=True)
    assert continued.status_code == 200
    assert 0 < size_of("c1") - before < before


def test_it_holds_ten_thousand_messages(client_of: ClientOf, emulator: Emulator) -> None:
    alice = client_of("alice")
    alice.get("/conversations")
    build.long_conversation(User.objects.get(username="alice"), 4_999, "long")
    assert say(alice, "long", "the last one").status_code == 200
    refused = say(alice, "long", "one more")
    assert refused.status_code == 400
    assert refused.json()["detail"] == "A conversation holds at most 10,000 messages. Begin a new one."
    assert Message.objects.count() == capacity.MOST_MESSAGES == 10_000


def test_questions_that_are_asked_again_find_no_more_room(client_of: ClientOf, emulator: Emulator) -> None:
    alice = client_of("alice")
    alice.get("/conversations")
    conversation = build.long_conversation(User.objects.get(username="alice"), 4_999, "long")
    for number in range(2):
        build.question(conversation, "hello", external_id=f"failed-{number}", outcome=Outcome.FAILED)
    for number in range(2):
        refused = say(alice, "long", "hello", message_id=f"failed-{number}")
        assert refused.status_code == 400
        assert "10,000 messages" in refused.json()["detail"]
    Message.objects.filter(external_id="failed-1").delete()
    assert say(alice, "long", "hello", message_id="failed-0").status_code == 200
    assert Message.objects.count() == capacity.MOST_MESSAGES


def test_long_feedback_counts_and_finds_no_room_in_a_full_conversation(client_of: ClientOf, emulator: Emulator) -> None:
    alice = client_of("alice")
    say(alice, "c1", "hello", message_id="q1")
    for message_id in ("q1", "system"):
        path = f"/conversation/c1/{message_id}/feedback"
        for comment, grown in (("x" * 2000, 0), ("x" * 9000, 9000), ("語" * 9000, 27_000)):
            before = size_of("c1")
            assert alice.put(path, {"thumbsUp": True, "comment": comment}, format="json").status_code == 200
            assert 0 <= size_of("c1") - before - grown < 100
        Conversation.objects.update(size=capacity.MOST_BYTES)
        refused = alice.put(path, {"thumbsUp": True, "comment": "語" * 9000}, format="json")
        assert (refused.status_code, "500 MB" in refused.json()["detail"]) == (400, True)
        assert alice.put(path, {"thumbsUp": True, "comment": "short"}, format="json").status_code == 200
        Conversation.objects.update(size=1000)


def test_an_answer_by_reference_is_not_charged_with_its_files(
    client_of: ClientOf, emulator: Emulator, png: str
) -> None:
    alice = client_of("alice")
    image = {"contentType": "image", "mediaType": "image/png", "body": png}
    say(alice, "c1", [image, {"contentType": "text", "body": "what is this?"}])
    Blob.objects.update(size=200 * MEGABYTE)
    Conversation.objects.update(size=200 * MEGABYTE + 1000)
    conversation = Conversation.objects.get()
    assert rendering.size_of(conversation, with_files=False) == 1000
    assert rendering.size_of(conversation, with_files=True) == 200 * MEGABYTE * 4 // 3 + 1000


def test_it_holds_500_mb(client_of: ClientOf, emulator: Emulator) -> None:
    alice = client_of("alice")
    say(alice, "full", "hello")
    Conversation.objects.update(size=500 * MEGABYTE - 100)
    refused = say(alice, "full", "x" * 100)
    assert refused.status_code == 400
    assert refused.json()["detail"] == "A conversation holds at most 500 MB, files included. Begin a new one."
    assert say(alice, "full", "x").status_code == 200
    assert size_of("full") > capacity.MOST_BYTES - 100
    Conversation.objects.update(size=capacity.MOST_BYTES + 1)
    assert alice.post("/conversation", payload("full", "x"), format="json").status_code == 400
    assert alice.get("/conversation/full").status_code == 200
    assert alice.delete("/conversation/full").status_code == 200


def test_a_conversation_of_an_earlier_version_counts_from_zero(client_of: ClientOf, emulator: Emulator) -> None:
    alice = client_of("alice")
    say(alice, "old", "hello")
    Conversation.objects.update(size=None)
    assert say(alice, "old", "again").status_code == 200
    assert 0 < size_of("old") < 1000


def test_few_large_answers_are_made_at_once(
    client_of: ClientOf, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = Budget(4 * MEGABYTE, MEGABYTE)
    monkeypatch.setattr(answers, "budget", lambda: budget)
    alice, bob = client_of("alice"), client_of("bob")
    for client in (alice, bob):
        say(client, "c1", "hello")
    Conversation.objects.update(size=600 * 1024)
    account = f"user:{User.objects.get(username='alice').pk}"
    assert budget.take(account, 600 * 1024)  # another request of Alice's is at work
    refused: Any = alice.get("/conversation/c1")
    assert (refused.status_code, refused["Retry-After"]) == (503, "5")
    assert bob.get("/conversation/c1").status_code == 200
    budget.give_back(account, 600 * 1024)
    assert alice.get("/conversation/c1").status_code == 200
    assert alice.get("/conversation/c1?blobs=nonsense").status_code == 400
    assert budget.bytes_in_use == 0
