"""A turn closes whole or not at all: its answer, its ledger rows, its lease, and the writes of its caller."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import IntegrityError
from rest_framework.test import APIClient

from bedrock_chat.bedrock import catalog
from bedrock_chat.bedrock.events import TextDelta
from bedrock_chat.identity import local
from bedrock_chat.identity.caller import Caller
from bedrock_chat.jobs.queue import LeaseLost
from bedrock_chat.ledger.models import ModelCall
from conversations.content.blocks import Content
from conversations.models import Conversation, Message, Outcome
from conversations.turn import checkpoints, lifecycle, registry
from conversations.turn.types import ChatInput, Finished
from tests import build
from tests.bots.bot import make
from tests.conversations.chat import read, say, text_of
from tests.emulator import Emulator

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]
ClientOf = Callable[..., APIClient]


class Close:
    """What a turn's caller does in the closing transaction: it counts its calls, and raises `error` if there is one."""

    def __init__(self, error: Exception | None = None) -> None:
        self.calls, self._error = 0, error

    def __call__(self) -> None:
        self.calls += 1
        if self._error is not None:
            raise self._error


@pytest.fixture
def alice() -> Caller:
    return Caller(user_id=local.local_user("alice").pk)


def start_turn(actor: Caller, on_close: Close) -> Any:
    chat = ChatInput("c1", catalog.find(build.MODEL), Content(build.text("[[words:9]]"), {}), "q")
    return lifecycle.run(chat, actor=actor, on_close=on_close, listener=object())


def advance(events: Any, texts: int) -> None:
    """Reads events until the model has sent this many texts."""
    for event in events:
        texts -= isinstance(event, TextDelta)
        if not texts:
            return


@pytest.mark.parametrize("error", [IntegrityError("a row of the caller's"), ValueError("no"), LeaseLost()])
def test_what_the_caller_raises_leaves_no_answer_and_every_call(
    alice: Caller, emulator: Emulator, error: Exception
) -> None:
    on_close = Close(error)
    with pytest.raises(type(error)):
        list(start_turn(alice, on_close))
    assert on_close.calls == 1
    question = Message.objects.get()
    assert (question.outcome, question.lease_expires_at) == (Outcome.FAILED, None)
    call = ModelCall.objects.get()
    assert (call.message_external_id, call.stop_reason, call.output_tokens > 0) == ("q", "end_turn", True)


@pytest.mark.parametrize("error", [IntegrityError("a row of the caller's"), ValueError("no")])
def test_what_the_caller_raises_after_a_checkpoint_leaves_the_answer_interrupted(
    alice: Caller, emulator: Emulator, error: Exception
) -> None:
    on_close = Close(error)
    events = start_turn(alice, on_close)
    advance(events, 3)
    checkpoints.write()
    with pytest.raises(type(error)):
        list(events)
    assert on_close.calls == 1
    question, answer = Message.objects.order_by("pk")
    assert (question.outcome, answer.stop_reason) == (Outcome.INTERRUPTED, "interrupted")
    assert question.lease_expires_at is None
    assert ModelCall.objects.count() == 1


def test_an_answer_whose_id_was_taken_gets_another_one_and_is_closed_once(alice: Caller, emulator: Emulator) -> None:
    on_close = Close()
    events = start_turn(alice, on_close)
    advance(events, 3)
    (running,) = registry.all_running()
    taken = running.answer_external_id
    build.question(Conversation.objects.get(), "mine", external_id=taken)
    finished = list(events)[-1]
    assert isinstance(finished, Finished)
    assert finished.answer is not None
    assert finished.answer.external_id != taken
    assert Message.objects.get(external_id=finished.answer.external_id).stop_reason == "end_turn"
    assert on_close.calls == 1


def test_an_answer_says_of_its_conversation_what_the_stored_one_says(client_of: ClientOf, emulator: Emulator) -> None:
    alice = client_of("alice", "CreatingBotAllowed")
    make(alice, "bot-a")
    say(alice, "c1", "hello", bot_id="bot-a")
    answer = say(alice, "c1", "and now", message_id="q2").json()
    assert answer["botId"] == read(alice, "c1")["botId"] == "bot-a"
    again = say(alice, "c1", "and now", message_id="q2").json()
    assert again == answer
    assert text_of(answer["message"]) == "Echo: and now"
