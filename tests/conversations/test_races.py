"""Races: requests that really run at once, on threads, against a slow model."""

from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.response import Response
from rest_framework.test import APIClient

from bedrock_chat.ledger.models import ModelCall
from bedrock_chat.process import heartbeat
from conversations.models import Conversation, Message
from conversations.turn import admission, leases
from tests.conversations.chat import ids_by_text, read, say, text_of
from tests.emulator import Emulator
from tests.together import at_once, wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]
ClientOf = Callable[..., APIClient]


def test_parallel_first_turns_become_siblings(client_of: ClientOf, emulator: Emulator) -> None:
    alice = client_of("alice")
    alice.get("/conversations")
    emulator.script(wait=0.3)
    answers = at_once(*(lambda n=n: say(alice, "c1", f"first {n}") for n in range(6)))
    assert [response.status_code for response in answers] == [200] * 6
    stored = read(alice, "c1")
    assert len(stored["messageMap"]["system"]["children"]) == 6
    assert len(stored["messageMap"]) == 13
    assert Conversation.objects.count() == 1


def test_parallel_turns_on_one_answer_are_all_kept(client_of: ClientOf, emulator: Emulator) -> None:
    alice = client_of("alice")
    say(alice, "c1", "seed")
    seed = ids_by_text(read(alice, "c1"))["Echo: seed"]
    emulator.script(wait=0.2)
    answers = at_once(*(lambda n=n: say(alice, "c1", f"parallel {n}", parent=seed) for n in range(6)))
    assert [response.status_code for response in answers] == [200] * 6
    assert len(read(alice, "c1")["messageMap"][seed]["children"]) == 6


def test_the_same_message_sent_twice_at_once_is_asked_once(client_of: ClientOf, emulator: Emulator) -> None:
    alice = client_of("alice")
    alice.get("/conversations")
    emulator.script(wait=0.5)
    answers = at_once(*(lambda: say(alice, "c1", "hello", message_id="q1") for _ in range(4)))
    assert sorted(response.status_code for response in answers) == [200, 409, 409, 409]
    refused = next(response for response in answers if response.status_code == 409)
    assert int(refused["Retry-After"]) >= 1
    assert refused.json()["messageId"] == "q1"
    assert len(emulator.requests()) == 1


def test_one_continuation_at_a_time_and_no_question_below_meanwhile(client_of: ClientOf, emulator: Emulator) -> None:
    alice = client_of("alice")
    say(alice, "c1", "[[max_tokens]]")
    answer = ids_by_text(read(alice, "c1"))["This answer stops"]
    emulator.script(wait=0.6)

    def below() -> Response:
        wait_for(lambda: Message.objects.filter(continues__isnull=False).exists())
        return say(alice, "c1", "below it", parent=answer)

    first, second, question = at_once(
        lambda: say(alice, "c1", "", parent=answer, continue_generate=True),
        lambda: say(alice, "c1", "", parent=answer, continue_generate=True),
        below,
    )
    assert sorted([first.status_code, second.status_code]) == [200, 409]
    assert question.status_code == 409
    assert text_of(read(alice, "c1")["messageMap"][answer]) == "This answer stops ...and the rest."


def test_a_conversation_deleted_while_its_turn_runs_stays_deleted(client_of: ClientOf, emulator: Emulator) -> None:
    alice = client_of("alice")
    alice.get("/conversations")
    emulator.script(wait=0.8)

    def delete() -> Response:
        wait_for(lambda: Message.objects.exists())
        return alice.delete("/conversation/c1")

    turn, deleted = at_once(lambda: say(alice, "c1", "hello", message_id="q1"), delete)
    assert deleted.status_code == 200
    assert turn.status_code == 404
    assert turn.json()["messageId"] == "q1"
    assert alice.get("/conversation/c1").status_code == 404
    call = ModelCall.objects.get()
    assert call.output_tokens > 0
    emulator.reset()
    assert say(alice, "c1", "anew").status_code == 200
    assert set(ids_by_text(read(alice, "c1"))) == {"", "anew", "Echo: anew"}


def test_an_older_turn_that_ends_later_does_not_displace_an_edit(client_of: ClientOf, emulator: Emulator) -> None:
    alice = client_of("alice")
    alice.get("/conversations")

    def edit() -> Response:
        wait_for(lambda: Message.objects.exists())
        return say(alice, "c1", "edited", parent="system")

    slow, edited = at_once(lambda: say(alice, "c1", "slow [[wait:1]]"), edit)
    assert (slow.status_code, edited.status_code) == (200, 200)
    stored = read(alice, "c1")
    assert text_of(stored["messageMap"][stored["lastMessageId"]]) == "Echo: edited"
    assert len(stored["messageMap"]) == 5


@pytest.mark.usefixtures("beating_heart")
def test_a_lease_is_renewed_while_the_model_thinks(client_of: ClientOf, emulator: Emulator, settings: Any) -> None:
    settings.TURN_LEASE_SECONDS = 1
    heartbeat.register("turn leases", 1 / 3, leases.renew)  # the test's end puts the usual pace back
    alice = client_of("alice")
    alice.get("/conversations")

    def retry() -> Response:
        import time

        time.sleep(2)
        return say(alice, "c1", "slow [[wait:3]]", message_id="q1")

    first, second = at_once(lambda: say(alice, "c1", "slow [[wait:3]]", message_id="q1"), retry)
    assert (first.status_code, second.status_code) == (200, 409)


def test_a_stopped_and_woken_process_does_not_write_after_its_successor(
    client_of: ClientOf, emulator: Emulator, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TURN_LEASE_SECONDS = 1
    monkeypatch.setattr(leases, "renew", lambda: None)  # a stopped process renews no leases
    alice = client_of("alice")
    alice.get("/conversations")
    emulator.queue({"wait": 3, "text": "the sleeper's"}, {"text": "the successor's"})

    def successor() -> Response:
        import time

        time.sleep(1.5)
        monkeypatch.setattr(leases, "HOLDER", "the-successor")
        try:
            return say(alice, "c1", "hello", message_id="q1")
        finally:
            monkeypatch.undo()

    sleeper, answered = at_once(lambda: say(alice, "c1", "hello", message_id="q1"), successor)
    assert answered.status_code == 200
    assert sleeper.json() == answered.json()
    assert set(ids_by_text(read(alice, "c1"))) == {"", "hello", "the successor's"}
    assert ModelCall.objects.count() == 2


def test_beyond_its_turns_a_server_says_503_and_recovers(
    client_of: ClientOf, emulator: Emulator, settings: Any
) -> None:
    settings.TURNS = 2
    alice = client_of("alice")
    alice.get("/conversations")
    emulator.script(wait=0.8)

    def third() -> Response:
        wait_for(lambda: admission.count() == 2)
        return say(alice, "c3", "hello")

    first, second, refused = at_once(lambda: say(alice, "c1", "hello"), lambda: say(alice, "c2", "hello"), third)
    assert (first.status_code, second.status_code, refused.status_code) == (200, 200, 503)
    assert refused["Retry-After"]
    assert alice.get("/conversation/c3").status_code == 404
    emulator.reset()
    assert say(alice, "c3", "hello").status_code == 200
