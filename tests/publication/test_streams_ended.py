"""Published answers that are stopped, withdrawn or refused while somebody listens."""

from typing import Any

import pytest
from django.conf import LazySettings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from bedrock_chat.database.connections import database_now
from bedrock_chat.jobs import queue
from bedrock_chat.jobs.models import Job
from bedrock_chat.ledger.models import ModelCall
from bedrock_chat.wire.event_stream import EVENT_STREAM
from conversations.models import Message
from conversations.turn import lifecycle
from publication import running
from publication.models import Gate, TurnRequest
from publication.streaming import hosting
from tests import build
from tests.bots.bot import body, make, share
from tests.emulator import Emulator
from tests.listening import text_of
from tests.publication.api import Api, events_of, limits, publish, question, work
from tests.publication.listening import Listening, ids_of, kept, nothing_left
from tests.together import wait_for

__all__ = ["nothing_left"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]


# ---- Stopping -------------------------------------------------------------------------------------------------------


def test_a_stop_keeps_what_was_said(api: Api) -> None:
    listening = Listening(api, "[[words:20]] [[silence:30:after:4]]")
    wait_for(lambda: any(len(log.events) > 4 for log in hosting._logs.values()))
    turn = TurnRequest.objects.get()
    assert body(api.stop(turn.conversation_id, turn.message_id)) is None
    events = listening.end()
    assert (events[-1].name, events[-1].data["stopReason"]) == ("message_stop", "stopped")
    assert text_of(events) == "the quick brown fox"
    assert kept(api, turn.conversation_id, turn.message_id) == (200, "done", "the quick brown fox")
    assert ModelCall.objects.get().stop_reason == "stopped"
    assert body(api.stop(turn.conversation_id, turn.message_id)) is None


def test_a_turn_that_is_stopped_before_its_first_word_has_no_answer(api: Api, emulator: Emulator) -> None:
    listening = Listening(api, "[[silence:30]]")
    wait_for(emulator.requests)
    turn = TurnRequest.objects.get()
    body(api.stop(turn.conversation_id, turn.message_id))
    events = listening.end()
    assert (events[-1].name, events[-1].data["stopReason"]) == ("message_stop", "stopped")
    assert kept(api, turn.conversation_id, turn.message_id) == (409, "failed", lifecycle.STOPPED)


def test_a_question_that_waits_is_cancelled_by_a_stop_and_the_next_one_follows(api: Api, emulator: Emulator) -> None:
    conversation, first = api.ask("one")
    listening = Listening(api, "two", conversationId=conversation)
    wait_for(lambda: hosting._waiting)
    _, third = api.ask("three", conversationId=conversation)
    second = TurnRequest.objects.exclude(host="").get().message_id
    for message in (first, second):
        body(api.stop(conversation, message))
    hosting.begin_due()
    events = listening.end()
    assert (events[-1].name, events[-1].data["stopReason"]) == ("message_stop", "stopped")
    while work():
        pass
    assert [kept(api, conversation, message)[:2] for message in (first, second, third)] == [
        (409, "failed"),
        (409, "failed"),
        (200, "done"),
    ]
    assert len(emulator.requests()) == 1


def test_a_turn_that_was_cancelled_while_a_worker_began_it_asks_no_model(api: Api, emulator: Emulator) -> None:
    conversation, message = api.ask("late")
    [job] = queue.claim("worker", 1)
    begun = TurnRequest.objects.get()  # as the worker has read it
    body(api.stop(conversation, message))
    with pytest.raises(queue.LeaseLost):
        running._run(job, begun, None)
    assert emulator.requests() == []
    assert kept(api, conversation, message) == (409, "failed", lifecycle.STOPPED)


@pytest.mark.parametrize("kept_text", ["", "the quick"])
def test_a_stop_that_a_killed_process_did_not_heed_holds_for_the_next_attempt(
    api: Api, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, kept_text: str
) -> None:
    conversation, message = api.ask("late")
    TurnRequest.objects.update(host="gone")  # somebody listened there
    _be_killed(monkeypatch)
    question_row = Message.objects.get(role="user")
    if kept_text:  # a checkpoint
        build.answer(question_row, kept_text)
    body(api.stop(conversation, message))
    Message.objects.filter(role="user").update(lease_expires_at=database_now())
    Job.objects.update(due_at=database_now())
    assert work() == 1
    assert kept(api, conversation, message) == (
        (200, "done", kept_text) if kept_text else (409, "failed", lifecycle.STOPPED)
    )
    assert len(emulator.requests()) == 1


def _be_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker begins the turn that is due, and dies while the model answers."""

    class Killed(BaseException):
        pass

    def die(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as dying:
        dying.setattr("conversations.turn.closing.close_turn", die)
        dying.setattr("conversations.turn.closing.close_failed", die)
        with pytest.raises(Killed):
            work()


@pytest.mark.usefixtures("beating_heart")
def test_when_an_operator_cancels_the_job_of_a_turn_that_runs_its_model_is_stopped_and_the_client_told(
    api: Api,
) -> None:
    listening = Listening(api, "[[words:9]] [[silence:30:after:4]]")
    wait_for(lambda: any(len(log.events) > 4 for log in hosting._logs.values()))
    [job] = Job.objects.filter(kind=running.KIND)
    assert queue.cancel(job.pk)
    running.end_lost(queue.Claimed(0, "", {}, None, 1, "w"))
    end = listening.end()[-1]
    assert (end.name, end.data["status"], end.data["detail"]) == ("error", 409, running.CANCELLED)
    assert ModelCall.objects.get().stop_reason == "stopped"


# ---- The end of an API ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/bot/helper/publication", "/bot/helper"])
@pytest.mark.usefixtures("beating_heart")
def test_when_an_api_is_withdrawn_or_its_bot_deleted_open_streams_say_so(api: Api, dave: APIClient, path: str) -> None:
    streaming = Listening(api, "[[words:9]] [[silence:30:after:4]]", conversationId="c")
    wait_for(lambda: any(len(log.events) > 4 for log in hosting._logs.values()))
    waiting = Listening(api, "behind it", conversationId="c")
    wait_for(lambda: hosting._waiting)
    body(dave.delete(path))
    for listening in (streaming, waiting):
        end = listening.end()[-1]
        assert (end.name, end.data["status"], end.data["detail"]) == ("error", 403, running.WITHDRAWN)
    assert ModelCall.objects.count() == 1
    assert not Job.objects.filter(kind=running.KIND).exists()


# ---- Limits and refusals --------------------------------------------------------------------------------------------


def limited(dave: APIClient, **fields: Any) -> Api:
    make(dave, "limited")
    share(dave, "limited", "all")
    return publish(dave, "limited", limits(**fields))


def test_a_streamed_question_spends_one_of_the_quota_and_coming_back_and_stopping_none(
    dave: APIClient, emulator: Emulator
) -> None:
    api = limited(dave, quota=2)
    conversation, message = ids_of(api.listen())
    answers = [api.get(f"/conversation/{conversation}/{message}/stream") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert [api.stop(conversation, message).status_code for _ in range(3)] == [200, 200, 200]
    api.listen()
    refused = api.post(question(), HTTP_ACCEPT=EVENT_STREAM)
    assert (refused.status_code, refused.json()["message"]) == (429, "Limit Exceeded")
    assert refused.headers["Content-Type"] == "application/json"
    assert api.stop(conversation, message).status_code == 200, "a quota that is used up keeps nobody from stopping"


def test_a_stream_too_many_is_refused_before_anything_is_accepted(
    dave: APIClient, emulator: Emulator, settings: LazySettings
) -> None:
    api = limited(dave, quota=2)
    settings.THREADS = 0
    refused = api.post(question(), HTTP_ACCEPT=EVENT_STREAM)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    assert not TurnRequest.objects.exists()
    assert Gate.objects.filter(used__gt=0).count() == 0


def test_a_refused_key_and_a_bad_question_are_answered_in_json(api: Api, dave: APIClient) -> None:
    assert api.post(question(), key="wrong", HTTP_ACCEPT=EVENT_STREAM).status_code == 403
    bad = api.post({"message": {}}, HTTP_ACCEPT=EVENT_STREAM)
    assert (bad.status_code, bad.headers["Content-Type"]) == (400, "application/json")
    conversation, message = ids_of(api.listen())
    key_id = body(dave.get("/bot/helper/publication"))["apiKeyIds"][0]
    body(dave.patch(f"/bot/helper/publication/api-key/{key_id}", {"enabled": False}, format="json"))
    assert api.get(f"/conversation/{conversation}/{message}/stream").status_code == 403
    assert api.stop(conversation, message).status_code == 403


def test_an_allowed_origin_may_read_a_stream(dave: APIClient, emulator: Emulator) -> None:
    origin = "https://app.example.com"
    api = limited(dave, allowedOrigins=[origin])
    response = api.post(question(), HTTP_ACCEPT=EVENT_STREAM, HTTP_ORIGIN=origin)
    assert response.headers["Access-Control-Allow-Origin"] == origin
    assert "X-Turn-Status" in response.headers["Access-Control-Expose-Headers"]
    conversation, message = ids_of(events_of(response))
    again = api.get(f"/conversation/{conversation}/{message}/stream", HTTP_ORIGIN=origin)
    assert again.headers["Access-Control-Allow-Origin"] == origin
    preflight = {"HTTP_ORIGIN": origin, "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "GET"}
    allowed = APIClient().options(f"{api.path}/conversation/{conversation}/{message}/stream", **preflight)
    assert "last-event-id" in allowed.headers["Access-Control-Allow-Headers"]


def test_the_statements_of_coming_back(api: Api) -> None:
    conversation, message = ids_of(api.listen())
    with CaptureQueriesContext(connection) as captured:
        api.get(f"/conversation/{conversation}/{message}/stream")
    # Key, limits, the turn, and its row once more; of the answer: conversation, tree, answer, calls.
    assert len(captured) <= 10, [query["sql"] for query in captured]
    with CaptureQueriesContext(connection) as captured:
        api.stop(conversation, message)
    # Key, limits, the turn, those that are not over; conversation and question.
    assert len(captured) <= 8, [query["sql"] for query in captured]
