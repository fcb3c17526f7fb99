"""`continueGenerate`: an answer that was cut short goes on."""

from collections.abc import Callable

import pytest
from rest_framework.test import APIClient

from conversations.models import Message
from tests import build
from tests.conversations.chat import ids_by_text, read, say, text_of
from tests.conversations.test_turns import user
from tests.emulator import Emulator

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]
ClientOf = Callable[..., APIClient]


def cut_short(client: APIClient) -> str:
    """A conversation `c1` whose only answer ended by max_tokens; the answer's id."""
    say(client, "c1", "write long [[max_tokens]]")
    return ids_by_text(read(client, "c1"))["This answer stops"]


def test_new_text_joins_the_answer_and_the_whole_message_comes_back(client_of: ClientOf, emulator: Emulator) -> None:
    alice = client_of("alice")
    answer = cut_short(alice)
    assert read(alice, "c1")["shouldContinue"] is True
    response = say(alice, "c1", "", parent=answer, continue_generate=True)
    assert response.status_code == 200
    assert text_of(response.json()["message"]) == "This answer stops ...and the rest."
    stored = read(alice, "c1")
    assert len(stored["messageMap"]) == 3
    assert stored["shouldContinue"] is False
    assert stored["lastMessageId"] == answer
    assert emulator.requests()[-1]["body"]["messages"][-1] == {
        "role": "assistant",
        "content": [{"text": "This answer stops"}],
    }


def test_null_continues_the_last_message_and_content_is_ignored(client_of: ClientOf, emulator: Emulator) -> None:
    alice = client_of("alice")
    cut_short(alice)
    response = say(alice, "c1", "ignored", continue_generate=True, message_id="ignored", enable_reasoning=True)
    assert response.status_code == 200
    assert "ignored" not in str(read(alice, "c1"))
    assert "thinking" not in str(emulator.requests()[-1]["body"].get("additionalModelRequestFields"))


def test_text_is_sent_without_trailing_white_space(client_of: ClientOf, emulator: Emulator) -> None:
    alice = client_of("alice")
    conversation = build.conversation(user(alice), "c1")
    build.answer(build.question(conversation, "hi"), "Trailing space \n", stop_reason="max_tokens")
    assert say(alice, "c1", "", continue_generate=True).status_code == 200
    assert emulator.requests()[-1]["body"]["messages"][-1]["content"] == [{"text": "Trailing space"}]


def test_a_complete_answer_a_question_and_an_unknown_conversation_are_refused(
    client_of: ClientOf, emulator: Emulator
) -> None:
    alice = client_of("alice")
    say(alice, "c1", "hello")
    assert say(alice, "c1", "", continue_generate=True).status_code == 400
    question = ids_by_text(read(alice, "c1"))["hello"]
    assert say(alice, "c1", "", continue_generate=True, parent=question).status_code == 400
    assert say(alice, "nope", "", continue_generate=True).status_code == 404


@pytest.mark.parametrize("model", ["claude-v4.6-sonnet", "mistral-large"])
def test_a_model_that_takes_no_prefill_is_refused_by_name(client_of: ClientOf, emulator: Emulator, model: str) -> None:
    alice = client_of("alice")
    answer = cut_short(alice)
    calls = len(emulator.requests())
    assert say(alice, "c1", "", parent=answer, continue_generate=True, model=model).status_code == 400
    assert len(emulator.requests()) == calls


def test_an_answer_without_text_cannot_be_continued(client_of: ClientOf, emulator: Emulator) -> None:
    alice = client_of("alice")
    conversation = build.conversation(user(alice), "c1")
    thought = {"contentType": "reasoning", "text": "hm", "signature": "s", "redactedContent": ""}
    build.answer(build.question(conversation, "hi"), "", stop_reason="max_tokens", content=[thought])
    assert say(alice, "c1", "", continue_generate=True).status_code == 400


def test_a_failing_continuation_changes_nothing(client_of: ClientOf, emulator: Emulator) -> None:
    alice = client_of("alice")
    answer = cut_short(alice)
    before = read(alice, "c1")
    emulator.script(fault="AccessDeniedException", times=1)
    refused = say(alice, "c1", "", parent=answer, continue_generate=True)
    assert refused.status_code == 502
    assert refused.json()["conversationId"] == "c1"
    assert read(alice, "c1") == before
    assert Message.objects.get(role="user").outcome == "answered"
    assert say(alice, "c1", "", parent=answer, continue_generate=True).status_code == 200


def test_what_was_interrupted_goes_on(client_of: ClientOf, emulator: Emulator) -> None:
    alice = client_of("alice")
    conversation = build.conversation(user(alice), "c1")
    build.exchange(conversation, "hello", stop_reason="interrupted")
    response = say(alice, "c1", "", continue_generate=True)
    assert text_of(response.json()["message"]) == "Echo: hello ...and the rest."
    assert "stopReason" not in response.json()["message"]
    assert Message.objects.get(role="user").outcome == "answered"
