"""Turns under a guardrail: what a client reads when it intervenes, and how the conversation goes on."""

from typing import Any

import orjson
import pytest
from rest_framework.test import APIClient

from bedrock_chat.bedrock import catalog
from bedrock_chat.bedrock.guardrails import BLOCKED_ANSWER, BLOCKED_QUESTION
from bedrock_chat.identity.caller import Caller
from bedrock_chat.identity.models import User
from bedrock_chat.ledger.models import ModelCall
from conversations.content.blocks import Content
from conversations.streaming.events import encoded, stream_event_of
from conversations.streaming.websocket.frames import frames_of
from conversations.turn import lifecycle
from conversations.turn.types import ChatInput, TurnOpened
from tests import build
from tests.bots.bot import body, make, share
from tests.bots.guarding import guarded, make_guarded
from tests.bots.test_chatting import cost
from tests.conversations.chat import read, say, text_of
from tests.emulator import Emulator

pytestmark = pytest.mark.django_db(transaction=True)

IN_PLACE = "(A message that a guardrail has blocked is not sent again.)"


@pytest.fixture(autouse=True)
def _bedrock(emulator: Emulator) -> None:
    """The emulator answers."""


def sent(emulator: Emulator) -> dict[str, Any]:
    """The body of the last request to a model."""
    last: dict[str, Any] = emulator.requests()[-1]["body"]
    return last


@pytest.mark.both
@pytest.mark.parametrize(
    ("question", "sentence"),
    [("[[blocked]] words", BLOCKED_QUESTION), ("harmless [[blocked:answer]]", BLOCKED_ANSWER)],
)
def test_an_intervention_shows_as_such(
    alice: APIClient, emulator: Emulator, caplog: pytest.LogCaptureFixture, question: str, sentence: str
) -> None:
    guardrail = make_guarded(alice, emulator)
    message = body(say(alice, "c", question, bot_id="b"))["message"]
    assert (text_of(message), message["stopReason"]) == (sentence, "guardrail_intervened")
    shown = read(alice, "c")
    last = shown["messageMap"][shown["lastMessageId"]]
    assert (text_of(last), last["stopReason"]) == (sentence, "guardrail_intervened")
    assert shown["shouldContinue"] is False
    call = ModelCall.objects.get()
    assert (call.stop_reason, call.fault) == ("guardrail_intervened", "")
    side = "question" if sentence == BLOCKED_QUESTION else "answer"
    assert f"guardrail {guardrail['id']} blocked the {side}: HATE" in caplog.messages
    assert question not in caplog.text
    assert say(alice, "c", [], continue_generate=True).status_code == 400


def test_an_intervention_shows_on_both_wires(alice: APIClient, emulator: Emulator) -> None:
    make_guarded(alice, emulator)
    user = User.objects.get(username="alice")
    chat = ChatInput(
        conversation_external_id="c",
        model=catalog.find("claude-v3.7-sonnet"),
        content=Content(build.text("[[blocked]]"), {}),
        bot_id="b",
    )
    turn = lifecycle.run(chat, actor=Caller(user_id=user.pk), listener=object())
    opened = next(turn)
    assert isinstance(opened, TurnOpened)
    events = [stream_event for event in turn if (stream_event := stream_event_of(event, opened)) is not None]
    name, last = encoded(events[-1])
    assert (name, last["stopReason"]) == ("message_stop", "guardrail_intervened")
    texts = [frame for event in events for frame in frames_of(event)]
    frames = [orjson.loads(frame) for frame in texts if frame.startswith("{")]
    assert "".join(frame["completion"] for frame in frames) == BLOCKED_QUESTION
    assert (frames[-1]["status"], frames[-1]["stop_reason"]) == ("STREAMING_END", "guardrail_intervened")
    assert emulator.requests()[-1]["operation"] == "ConverseStream"


def test_a_conversation_goes_on_after_an_intervention(alice: APIClient, emulator: Emulator) -> None:
    make_guarded(alice, emulator)
    for question in ("first", "[[blocked]]", "third"):
        answer = body(say(alice, "c", question, bot_id="b"))["message"]
    assert (text_of(answer), "stopReason" in answer) == ("Echo: third", False)
    texts = [message["content"][0]["text"] for message in sent(emulator)["messages"]]
    assert texts == ["first", "Echo: first", IN_PLACE, BLOCKED_QUESTION, "third"]


def test_a_blocked_question_can_be_asked_otherwise(alice: APIClient, emulator: Emulator) -> None:
    make_guarded(alice, emulator)
    body(say(alice, "c", "[[blocked]]", bot_id="b"))
    other = body(say(alice, "c", "harmless", bot_id="b", parent="system"))["message"]
    assert text_of(other) == "Echo: harmless"


def test_the_file_of_a_blocked_question_is_not_sent_again(alice: APIClient, emulator: Emulator, png: str) -> None:
    make_guarded(alice, emulator)
    image = {"contentType": "image", "mediaType": "image/png", "body": png}
    body(say(alice, "c", [image, {"contentType": "text", "body": "[[blocked]]"}], bot_id="b"))
    body(say(alice, "c", "next"))
    assert "image" not in str([message["content"] for message in sent(emulator)["messages"]])


def test_without_a_guardrail_nothing_is_blocked(alice: APIClient, emulator: Emulator) -> None:
    make(alice, "b")
    assert text_of(body(say(alice, "c", "[[blocked]]", bot_id="b"))["message"]) == "Echo: [[blocked]]"
    assert "guardrailConfig" not in sent(emulator)


def test_everybody_who_uses_the_bot_is_under_its_guardrail(
    alice: APIClient, bob: APIClient, emulator: Emulator
) -> None:
    make_guarded(alice, emulator)
    share(alice, "b", "all")
    assert body(say(bob, "c", "[[blocked]]", bot_id="b"))["message"]["stopReason"] == "guardrail_intervened"
    assert "arn:" not in bob.get("/bot/summary/b").content.decode()


def test_titles_are_under_the_bots_guardrail(alice: APIClient, emulator: Emulator) -> None:
    guardrail = make_guarded(alice, emulator)
    body(say(alice, "c", "[[blocked]] birds", bot_id="b"))
    assert "birds" in body(alice.get("/conversation/c/proposed-title"))["title"]
    assert sent(emulator)["guardrailConfig"]["guardrailIdentifier"] == guardrail["arn"]
    assert set(ModelCall.objects.values_list("stop_reason", flat=True)) == {"guardrail_intervened"}


def test_no_model_is_asked_for_a_title_before_the_guardrail_is_there(alice: APIClient, emulator: Emulator) -> None:
    make(alice, "b")
    body(say(alice, "c", "hello", bot_id="b"))
    body(alice.patch("/bot/b", {"bedrockGuardrails": guarded()}, format="json"))
    number = len(emulator.requests())
    assert body(alice.get("/conversation/c/proposed-title"))["title"] == "hello"
    assert len(emulator.requests()) == number


def test_a_role_that_may_not_apply_guardrails_is_told(alice: APIClient, emulator: Emulator) -> None:
    make_guarded(alice, emulator)
    sentence = "User: arn:aws:iam::1:role/x is not authorized to perform: bedrock:ApplyGuardrail on resource"
    emulator.script(fault="AccessDeniedException", message=sentence, times=1)
    refused = say(alice, "c", "hello", bot_id="b")
    assert refused.status_code == 502
    assert "arn:" not in refused.json()["detail"]


@pytest.mark.parametrize(
    "identifier", ["abcdefabcdef", "arn:aws:bedrock:us-east-1:123456789012:guardrail/abcdefabcdef"]
)
def test_a_clients_guardrail_that_is_not_there_is_a_fault_that_names_it(alice: APIClient, identifier: str) -> None:
    make(alice, "b", bedrockGuardrails=guarded(guardrailArn=identifier, guardrailVersion="7"))
    refused = say(alice, "c", "hello", bot_id="b")
    assert refused.status_code == 502
    assert "version 7 of the guardrail abcdefabcdef," in refused.json()["detail"]
    assert "123456789012" not in refused.content.decode()
    assert ModelCall.objects.get().fault == "ValidationException"


def test_a_bots_guardrail_costs_a_turn_no_statement(alice: APIClient, emulator: Emulator) -> None:
    make_guarded(alice, emulator)
    make(alice, "plain")
    body(say(alice, "c", "hello", bot_id="b"))
    body(say(alice, "d", "hello", bot_id="plain"))
    assert cost(alice, "c") == cost(alice, "d")
