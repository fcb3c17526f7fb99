"""Feedback: a user's opinion of a message stays with it until they give another one."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from rest_framework.test import APIClient

from bedrock_chat.identity import local
from conversations.models import Message, Outcome
from tests import build
from tests.conversations.chat import read, say, text_of
from tests.emulator import Emulator

pytestmark = [pytest.mark.django_db, pytest.mark.both]
ClientOf = Callable[..., APIClient]

PRAISE = {"thumbsUp": True, "category": "", "comment": ""}


@pytest.fixture
def alice(client_of: ClientOf) -> APIClient:
    client = client_of("alice")
    conversation = build.conversation(local.local_user("alice"), "c1")
    build.answer(build.question(conversation, "hello", external_id="q1"), "Echo: hello", external_id="a1")
    return client


def give(client: APIClient, message: str, feedback: Any, conversation: str = "c1") -> Any:
    return client.put(f"/conversation/{conversation}/{message}/feedback", feedback, format="json")


@pytest.mark.parametrize("message", ["a1", "q1", "system"])
def test_it_stands_on_any_message_and_on_no_other(alice: APIClient, message: str) -> None:
    feedback = {"thumbsUp": False, "category": "notHelpful", "comment": "bad"}
    response = give(alice, message, feedback)
    assert (response.status_code, response.json()) == (200, feedback)
    shown = {key: entry["feedback"] for key, entry in read(alice, "c1")["messageMap"].items()}
    assert shown == dict.fromkeys(("system", "q1", "a1")) | {message: feedback}


@pytest.mark.parametrize(
    "feedback",
    [
        {"thumbsUp": True},
        {"thumbs_up": True},
        {"thumbsUp": True, "category": None, "comment": None},
        {"thumbsUp": True, "category": "", "comment": "", "unknown": 1},
    ],
)
def test_praise_needs_no_category(alice: APIClient, feedback: dict[str, Any]) -> None:
    assert give(alice, "a1", feedback).json() == PRAISE


@pytest.mark.parametrize(
    ("feedback", "field"),
    [
        ({}, "thumbsUp"),
        ({"thumbsUp": None}, "thumbsUp"),
        ({"thumbsUp": "perhaps"}, "thumbsUp"),
        ({"thumbsUp": False}, "category"),
        ({"thumbsUp": False, "category": None}, "category"),
        ({"thumbsUp": False, "category": " "}, "category"),
        ({"thumbsUp": True, "category": 5}, "category"),
        ({"thumbsUp": True, "category": "x" * 257}, "category"),
        ({"thumbsUp": True, "comment": ["nice"]}, "comment"),
        ({"thumbsUp": True, "comment": "x" * 100_001}, "comment"),
        ([], ""),
    ],
)
def test_what_is_refused_leaves_what_was_there(alice: APIClient, feedback: Any, field: str) -> None:
    give(alice, "a1", {"thumbsUp": True})
    response = give(alice, "a1", feedback)
    assert response.status_code == 400
    assert response.json()["errors"][0].startswith(field)
    assert read(alice, "c1")["messageMap"]["a1"]["feedback"] == PRAISE


def test_a_later_opinion_takes_the_place_of_an_earlier_one(alice: APIClient) -> None:
    give(alice, "a1", {"thumbsUp": False, "category": "other", "comment": "no"})
    give(alice, "a1", {"thumbsUp": True})
    assert read(alice, "c1")["messageMap"]["a1"]["feedback"] == PRAISE


def test_it_works_at_any_size(alice: APIClient) -> None:
    body = "x" * 2_000_000
    conversation = build.conversation(local.local_user("alice"), "large")
    build.answer(build.question(conversation, body), body, external_id="large")
    comment = "ü" * 100_000
    assert give(alice, "large", {"thumbsUp": True, "comment": comment}, "large").status_code == 200
    assert read(alice, "large")["messageMap"]["large"]["feedback"]["comment"] == comment


def test_what_is_not_there_or_not_yours_is_a_404(alice: APIClient, client_of: ClientOf) -> None:
    bob, carol = client_of("bob"), client_of("carol", "Admin")
    assert give(alice, "a1", {"thumbsUp": True}, "c2").status_code == 404
    for message in ("a2", "instruction", "Q1"):
        assert give(alice, message, {"thumbsUp": True}).status_code == 404
    for other in (bob, carol):
        for message in ("a1", "system"):
            assert give(other, message, {"thumbsUp": True}).status_code == 404
    assert not any(entry["feedback"] for entry in read(alice, "c1")["messageMap"].values())


def test_an_answer_takes_none_until_its_turn_has_ended(alice: APIClient) -> None:
    conversation = build.conversation(local.local_user("alice"), "c2")
    question = build.question(
        conversation, "slow", lease=timedelta(seconds=30), outcome=Outcome.INTERRUPTED, external_id="q2"
    )
    build.answer(question, "so far", stop_reason="interrupted", external_id="a2")
    assert give(alice, "a2", {"thumbsUp": True}, "c2").status_code == 404
    assert give(alice, "q2", {"thumbsUp": True}, "c2").status_code == 200
    Message.objects.filter(pk=question.pk).update(lease_holder="", lease_expires_at=None)
    assert give(alice, "a2", {"thumbsUp": True}, "c2").status_code == 200


def test_an_answer_that_is_being_continued_takes_it(alice: APIClient) -> None:
    conversation = build.conversation(local.local_user("alice"), "c2")
    question = build.question(conversation, "long", external_id="q2")
    answer = build.answer(question, "so far", stop_reason="max_tokens", external_id="a2")
    running = {"lease_holder": "another-process", "continues": answer.pk, "attempt": 2}
    Message.objects.filter(pk=question.pk).update(
        lease_expires_at=conversation.created_at + timedelta(hours=1), **running
    )
    Message.objects.filter(pk=answer.pk).update(attempt=2)
    assert give(alice, "a2", {"thumbsUp": True}, "c2").status_code == 200
    assert read(alice, "c2")["messageMap"]["a2"]["feedback"] == PRAISE


@pytest.mark.django_db(transaction=True)
def test_what_joins_an_answer_leaves_the_feedback_on_it(alice: APIClient, emulator: Emulator) -> None:
    assert say(alice, "c2", "[[max_tokens]]", message_id="q2").status_code == 200
    answer = read(alice, "c2")["lastMessageId"]
    give(alice, answer, {"thumbsUp": True}, "c2")
    assert say(alice, "c2", [], continue_generate=True).status_code == 200
    continued = read(alice, "c2")["messageMap"][answer]
    assert (text_of(continued), continued["feedback"]) == ("This answer stops ...and the rest.", PRAISE)
