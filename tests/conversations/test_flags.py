"""What an answer shows is true of the routes that it points to."""

from collections.abc import Callable
from datetime import timedelta
from itertools import product
from random import Random
from typing import Any

import pytest
from rest_framework.test import APIClient

from conversations.models import Conversation, Message
from conversations.turn import capacity
from tests import build
from tests.conversations.chat import read, say
from tests.conversations.test_turns import user
from tests.emulator import Emulator

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]
ClientOf = Callable[..., APIClient]

PREFILLS, DOES_NOT = "claude-v3.7-sonnet", "claude-v4.6-opus"
STATES = list(
    product(
        ["max_tokens", "end_turn", "stopped", "interrupted"],
        ["some text", " ", ""],
        [PREFILLS, DOES_NOT],
        ["last", "a question below", "a running question below"],
        ["over", "is continued", "is asked again", "killed"],
        ["room", "full"],
    )
)
ORDINARY = [("max_tokens", "some text", PREFILLS, "last", "over", "room")]


def build_state(alice: APIClient, name: str, state: tuple[str, ...]) -> None:
    stop_reason, body, model, below, turn, room = state
    size = 0 if room == "room" else capacity.MOST_BYTES + 1
    conversation = build.conversation(user(alice), name, size=size)
    question = build.question(conversation, "hello", external_id="q1")
    content = build.text(body) if body else []
    answer = build.answer(question, "", content=content, stop_reason=stop_reason, external_id="a1")
    Message.objects.filter(pk=answer.pk).update(model=model)
    lease = {"killed": timedelta(seconds=-1)}.get(turn, timedelta(seconds=9))
    running: dict[str, Any] = {"lease_holder": "x", "lease_expires_at": answer.created_at + lease, "attempt": 2}
    if turn == "is continued":
        Message.objects.filter(pk=question.pk).update(continues=answer.pk, **running)
        Message.objects.filter(pk=answer.pk).update(attempt=2)
    elif turn != "over":
        Message.objects.filter(pk=question.pk).update(**running)
    if below != "last":
        lease_below = timedelta(seconds=9) if "running" in below else None
        build.question(conversation, "more", under=answer, external_id="q2", lease=lease_below)
        Conversation.objects.filter(pk=conversation.pk).update(last_question="q1")


def test_what_should_continue_is_continued_and_nothing_else_that_was_cut_by_max_tokens_can_be(
    client_of: ClientOf, emulator: Emulator
) -> None:
    alice = client_of("alice")
    flags = set()
    for number, state in enumerate([*ORDINARY, *Random(17).sample(STATES, 50)]):
        build_state(alice, f"c{number}", state)
        shown = read(alice, f"c{number}")
        last = shown["lastMessageId"]
        flags.add(shown["shouldContinue"])
        model = shown["messageMap"][last]["model"]
        answer = say(alice, f"c{number}", "", parent=last, continue_generate=True, model=model)
        is_cut_by_max_tokens = last == "a1" and state[0] == "max_tokens"
        is_accepted = answer.status_code == 200 or (answer.status_code == 409 and "Retry-After" in answer)
        # While its question is asked again the content decides, as it will when that turn is over.
        if answer.status_code == 409 and not (state[1].strip() and state[2] == PREFILLS and state[5] == "room"):
            is_accepted = False
        assert shown["shouldContinue"] == (is_accepted and is_cut_by_max_tokens), (state, answer.data)
    assert flags == {True, False}


@pytest.mark.parametrize(("words", "fits"), [(1_000, True), (800_000, False)])
def test_what_is_beyond_the_models_window_cannot_go_on(
    client_of: ClientOf, emulator: Emulator, words: int, fits: bool
) -> None:
    alice = client_of("alice")
    conversation = build.conversation(user(alice), "c1")
    build.answer(build.question(conversation, "word " * words), "so far", stop_reason="max_tokens")
    assert read(alice, "c1")["shouldContinue"] is fits
    assert say(alice, "c1", "", continue_generate=True).status_code == (200 if fits else 400)


def test_every_message_that_is_shown_takes_feedback_and_a_question_below_it(
    client_of: ClientOf, emulator: Emulator
) -> None:
    alice = client_of("alice")
    for number, state in enumerate(Random(18).sample([state for state in STATES if state[-1] == "room"], 12)):
        name = f"c{number}"
        build_state(alice, name, state)
        shown = read(alice, name)
        for message_id, message in shown["messageMap"].items():
            for child in message["children"]:
                assert shown["messageMap"][child]["parent"] == message_id
            if message_id == "system":
                continue
            path = f"/conversation/{name}/{message_id}/feedback"
            assert alice.put(path, {"thumbsUp": True}, format="json").status_code == 200, (state, message_id)
            answer = say(alice, name, "below", parent=message_id)
            is_being_written = answer.status_code == 409 and state[4] == "is continued" and "Retry-After" in answer
            assert answer.status_code == 200 or is_being_written, (state, message_id, answer.data)
