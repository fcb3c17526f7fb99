"""A conversation that is too long for its model.

Where that is certain, it is refused before anything is stored. Otherwise Bedrock refuses it, and its message is passed
on with the estimate, the limit and what helps.
"""

import base64
import re
from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from bedrock_chat.bedrock import catalog, estimates
from bedrock_chat.identity import local
from bedrock_chat.identity.caller import Caller
from bedrock_chat.ledger.models import ModelCall
from bedrock_chat.wire.errors import BadRequest
from conversations.content.blocks import Content
from conversations.models import Conversation, Message, Outcome
from conversations.turn import context_window, lifecycle
from conversations.turn.types import ChatInput
from tests import build
from tests.conversations.chat import read, say
from tests.emulator import Emulator

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]
ClientOf = Callable[..., APIClient]

SMALL, NAME, WINDOW = "mistral-large", "Mistral Large (24.02)", 32_000
LARGE = "claude-v4.6-sonnet"
CERTAIN = "x" * (8 * WINDOW + 8)
"""Too long by the lowest estimate."""
LIKELY = "x" * (4 * WINDOW + 40)
"""Too long as the emulator counts, and not by the lowest estimate."""


@pytest.fixture
def alice(client_of: ClientOf, emulator: Emulator) -> APIClient:
    return client_of("alice")


def refusal(response: Any) -> str:
    assert response.status_code == 400, response.content[:500]
    body = response.json()
    assert body["errors"] == [body["detail"]]
    detail: str = body["detail"]
    assert NAME in detail
    assert "takes 32,000." in detail
    assert context_window.WAYS_OUT in detail
    return detail


# ---- Certain --------------------------------------------------------------------------------------------------------


def test_what_cannot_fit_is_refused_before_anything_is_stored(alice: APIClient, emulator: Emulator) -> None:
    detail = refusal(say(alice, "c1", CERTAIN, model=SMALL))
    assert "at least 32,001 tokens" in detail
    assert not Conversation.objects.exists()
    assert emulator.requests() == []
    assert not ModelCall.objects.exists()


def test_so_it_is_in_a_conversation_that_has_grown(alice: APIClient, emulator: Emulator) -> None:
    conversation = build.conversation(local.local_user("alice"), "c1")
    half = CERTAIN[: len(CERTAIN) // 2]
    answer = build.exchange(conversation, half)
    build.exchange(conversation, "short", under=answer)
    before = read(alice, "c1")
    refusal(say(alice, "c1", "x", model=SMALL))
    assert read(alice, "c1") == before
    assert Message.objects.count() == 4
    assert emulator.requests() == []


def test_a_branch_from_further_up_fits(alice: APIClient) -> None:
    conversation = build.conversation(local.local_user("alice"), "c1")
    first = build.exchange(conversation, "short")
    build.exchange(conversation, CERTAIN, under=first)
    refusal(say(alice, "c1", "and now?", model=SMALL))
    assert say(alice, "c1", "and now?", model=SMALL, parent=first.external_id).status_code == 200
    assert say(alice, "c1", "and now?", model=SMALL, parent="system").status_code == 200


def test_a_model_with_a_larger_window_takes_it(alice: APIClient) -> None:
    assert say(alice, "c1", CERTAIN, model=LARGE).status_code == 200


def test_an_instruction_counts(alice: APIClient) -> None:
    build.conversation(local.local_user("alice"), "c1", instruction=CERTAIN)
    refusal(say(alice, "c1", "hello", model=SMALL))


def test_so_it_is_for_a_question_that_is_asked_again_and_an_answer_that_goes_on(alice: APIClient) -> None:
    conversation = build.conversation(local.local_user("alice"), "c1")
    build.question(conversation, CERTAIN, outcome=Outcome.FAILED, external_id="q1")
    refusal(say(alice, "c1", CERTAIN, model=SMALL, message_id="q1"))
    assert Message.objects.get().attempt == 1
    long = build.conversation(local.local_user("alice"), "c2")
    build.answer(build.question(long, "x"), "y" * 8 * 200_008, stop_reason="max_tokens")
    response = say(alice, "c2", [], continue_generate=True)
    assert (response.status_code, "at least 200,0" in response.json()["detail"]) == (400, True)


def test_what_was_answered_is_told_again_however_long_it_is(alice: APIClient) -> None:
    conversation = build.conversation(local.local_user("alice"), "c1")
    build.answer(build.question(conversation, CERTAIN, external_id="q1"), "Echo")
    assert say(alice, "c1", CERTAIN, model=SMALL, message_id="q1").status_code == 200


def test_plain_documents_of_the_message_count_and_others_do_not(alice: APIClient) -> None:
    body = base64.b64encode(b"x" * 4_500_000).decode()

    def attached(name: str) -> Any:
        return say(
            alice,
            name,
            [{"contentType": "text", "body": "x"}, {"contentType": "attachment", "fileName": name, "body": body}],
        )

    assert "at least 562,500 tokens" in attached("a.txt").json()["detail"]
    assert not Message.objects.exists()
    assert "about " in attached("a.pdf").json()["detail"]
    assert Message.objects.get().outcome == Outcome.FAILED


def test_no_estimate_is_made_for_an_ordinary_conversation(alice: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimates, "low_tokens", lambda _: pytest.fail("estimated"))
    conversation = build.long_conversation(local.local_user("alice"), 200, "c1")
    assert say(alice, conversation.external_id, "hello").status_code == 200


# ---- Likely ---------------------------------------------------------------------------------------------------------


def test_bedrocks_refusal_is_told_with_the_estimate_and_its_question_survives(
    alice: APIClient, emulator: Emulator
) -> None:
    response = say(alice, "c1", LIKELY, model=SMALL, message_id="q1")
    detail = response.json()["detail"]
    match = re.search(rf"about ([\d,]+) tokens, by our estimate; {re.escape(NAME)} takes 32,000\.", detail)
    assert match is not None, detail
    assert int(match[1].replace(",", "")) > WINDOW
    assert context_window.WAYS_OUT in detail
    assert detail.endswith("Bedrock says: Input is too long for requested model.")
    assert (response.json()["conversationId"], response.json()["messageId"]) == ("c1", "q1")
    assert (response.status_code, len(emulator.requests())) == (400, 1)
    assert read(alice, "c1")["lastMessageId"] == "q1"
    assert Message.objects.get().outcome == Outcome.FAILED
    assert ModelCall.objects.get().fault == "ValidationException"


def test_another_model_answers_the_question_that_survived(alice: APIClient) -> None:
    assert say(alice, "c1", LIKELY, model=SMALL, message_id="q1").status_code == 400
    assert say(alice, "c1", LIKELY, model=LARGE, message_id="q1").status_code == 200
    assert Message.objects.count() == 2


@pytest.mark.parametrize(
    "message",
    [
        "Input is too long for requested model.",
        "The model returned the following errors: prompt is too long: 213462 tokens > 200000 maximum",
        "The model returned the following errors: input length and `max_tokens` exceed context limit: 199000 + 8192 > "
        "200000, decrease input length or `max_tokens` and try again",
        "Too many input tokens. Max input tokens: 8192, request input token count: 9279",
        "Input Tokens Exceeded: Number of input tokens exceeds maximum length. Please update the input to try again.",
        "This model's maximum context length is 8192 tokens. Please reduce the length of the prompt",
    ],
)
@pytest.mark.parametrize("listener", [None, object()])
def test_every_vendors_words_for_it_are_known(
    alice: APIClient, emulator: Emulator, message: str, listener: object | None
) -> None:
    emulator.script(fault="ValidationException", message=message)
    chat = ChatInput("c1", catalog.find(SMALL), Content(build.text("hello"), {}))
    actor = Caller(user_id=local.local_user("alice").pk)
    with pytest.raises(BadRequest) as refused:
        lifecycle.drain(lifecycle.run(chat, actor=actor, listener=listener))
    detail = str(refused.value.detail)
    assert detail.startswith(f"The conversation is too long for {NAME}: it holds about ")
    assert detail.endswith(f"Bedrock says: {message}")
    assert refused.value.extra["conversationId"] == "c1"


def test_other_refusals_are_told_as_they_were(alice: APIClient, emulator: Emulator) -> None:
    emulator.script(fault="ValidationException", message="The value at messages.1 is invalid.")
    detail = say(alice, "c1", "hello", model=SMALL).json()["detail"]
    assert detail == "Bedrock refused the request: The value at messages.1 is invalid."
