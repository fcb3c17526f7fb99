"""A streamed question that is sent again with its Idempotency-Key is joined: asked once, paid once, counted once."""

import threading
from typing import Any

import pytest
from django.db import connection
from rest_framework.test import APIClient

from bedrock_chat.database.connections import database_now
from bedrock_chat.jobs.models import Job
from bedrock_chat.ledger.models import ModelCall
from bedrock_chat.wire.event_stream import EVENT_STREAM
from publication import running
from publication.models import ApiKey, Gate, IdempotencyKey, TurnRequest
from publication.streaming import hosting
from tests.bots.bot import body, make, share
from tests.emulator import Emulator
from tests.listening import Event, names, text_of
from tests.publication.api import Api, events_of, limits, publish, question, work
from tests.together import at_once, wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]

SLOW = "[[words:9]] [[pace:0.05]]"
WORDS = 9


def send(api: Api, text: str = SLOW, **headers: str) -> Any:
    """Asks with the key `k`, on a client of its own."""
    own = Api(api.path, api.key, APIClient())
    return own.post(question(text), HTTP_IDEMPOTENCY_KEY="k", **headers)


def listen(api: Api, text: str = SLOW) -> list[Event]:
    return events_of(send(api, text, HTTP_ACCEPT=EVENT_STREAM))


def ids_of(events: list[Event]) -> tuple[str, str]:
    return events[0].data["conversationId"], events[0].data["messageId"]


def is_once(emulator: Emulator) -> bool:
    used = Gate.objects.get(account=ApiKey.objects.get().lineage).used
    counts = (TurnRequest.objects.count(), IdempotencyKey.objects.count(), ModelCall.objects.count(), used)
    return (*counts, len(emulator.requests())) == (1, 1, 1, 1, 1)


def test_sent_twice_at_once_both_hear_the_one_answer(api: Api, emulator: Emulator) -> None:
    together = threading.Barrier(4)

    def ask() -> list[Event]:
        together.wait()
        return listen(api)

    heard = at_once(*[ask] * 4)
    assert {names(events)[-1] for events in heard} == {"message_stop"}
    assert len({ids_of(events) for events in heard}) == 1
    assert [len(text_of(events).split()) for events in heard] == [WORDS] * 4
    assert is_once(emulator)


def test_sent_again_in_the_middle_of_the_answer_it_is_joined_from_the_beginning(api: Api, emulator: Emulator) -> None:
    first: list[list[Event]] = []

    def ask() -> None:
        try:
            first.append(listen(api))
        finally:
            connection.close()

    thread = threading.Thread(target=ask)
    thread.start()
    wait_for(lambda: any(len(log.events) > 3 for log in hosting._logs.values()))
    again = listen(api)
    thread.join()
    assert (text_of(again), ids_of(again), again[-1].id) == (text_of(first[0]), ids_of(first[0]), first[0][-1].id)
    assert is_once(emulator)


def test_after_the_end_the_stored_answer_is_streamed_and_another_body_is_refused(api: Api, emulator: Emulator) -> None:
    first, again = listen(api), listen(api)
    assert names(again) == ["message_start", "text", "message_stop"]
    assert (text_of(again), ids_of(again), again[-1].data) == (text_of(first), ids_of(first), first[-1].data)
    other = send(api, "another body", HTTP_ACCEPT=EVENT_STREAM)
    assert (other.status_code, other.headers["Content-Type"]) == (422, "application/json")
    assert is_once(emulator)


def test_asked_plain_and_then_streamed_it_is_one_question_and_the_other_way_round(api: Api, emulator: Emulator) -> None:
    accepted = body(send(api, "plain"))
    worker = threading.Thread(target=lambda: (wait_for(lambda: work()), connection.close()))
    worker.start()
    events = listen(api, "plain")
    worker.join()
    assert text_of(events) == "Echo: plain"
    assert ids_of(events) == (accepted["conversationId"], accepted["messageId"])
    assert body(send(api, "plain")) == accepted
    assert is_once(emulator)


def test_with_an_empty_quota_it_is_joined_all_the_same(dave: APIClient, emulator: Emulator) -> None:
    make(dave, "helper")
    share(dave, "helper", "all")
    api = publish(dave, "helper", limits(quota=1))
    first = listen(api)
    assert events_of(send(api, HTTP_ACCEPT=EVENT_STREAM))[-1].data == first[-1].data
    assert api.post(question(), HTTP_ACCEPT=EVENT_STREAM).status_code == 429
    assert is_once(emulator)


def test_of_a_process_that_was_killed_the_answer_of_the_next_attempt_is_heard(api: Api, emulator: Emulator) -> None:
    """The one that accepted the question is gone, and a worker takes the job when its lease has run out."""
    accepted = body(send(api, "killed"))
    TurnRequest.objects.update(host="gone")
    Job.objects.filter(kind=running.KIND).update(state="running", worker="gone", attempt=1, due_at=database_now())
    worker = threading.Thread(target=lambda: (wait_for(lambda: work()), connection.close()))
    worker.start()
    events = listen(api, "killed")
    worker.join()
    assert (events[-1].name, text_of(events)) == ("message_stop", "Echo: killed")
    assert ids_of([event for event in events if event.name == "message_start"]) == tuple(accepted.values())
    assert is_once(emulator)
