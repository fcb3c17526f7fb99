"""Published answers as they are written: the main API's events, under the turn's job."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from bedrock_chat.database.connections import database_now
from bedrock_chat.jobs import queue
from bedrock_chat.jobs.models import Job, State
from bedrock_chat.ledger.models import ModelCall
from bedrock_chat.process import shutdown
from bedrock_chat.wire.event_stream import EVENT_STREAM
from conversations.models import Message
from conversations.streaming import sse
from conversations.turn import lifecycle
from publication import running
from publication.models import Gate, TurnRequest
from publication.streaming import hosting
from tests import build
from tests.bots.bot import body, make, share
from tests.conversations.chat import text_of as text_stored
from tests.emulator import Emulator
from tests.listening import Event, names, text_of
from tests.publication.api import Api, events_of, limits, publish, question, work
from tests.together import at_once, wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]

SLOW = "[[words:9]] [[pace:0.05]]"
WORDS = 9


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """Every turn that a test has had run here has ended, and is forgotten."""
    yield
    wait_for(lambda: not hosting._logs)
    assert not hosting._waiting
    assert not len(hosting.CLAIMS)


def ids_of(events: list[Event]) -> tuple[str, str]:
    return events[0].data["conversationId"], events[0].data["messageId"]


def after_waiting(events: list[Event]) -> list[str]:
    """The names of the events without `waiting`, which a client hears that asks before a worker does."""
    return names([event for event in events if event.name != "waiting"])


def kept(api: Api, conversation: str, message: str) -> tuple[int, str, str]:
    """Status, X-Turn-Status and the text or sentence of a question's answer."""
    answer = api.answer(conversation, message)
    shown = answer.json()
    text = text_stored(shown["message"]) if answer.status_code == 200 else shown["detail"]
    return answer.status_code, answer.headers["X-Turn-Status"], text


class Listening:
    """A client on a thread of its own, with a connection of its own."""

    def __init__(
        self, api: Api, text: str, *, resuming: tuple[str, str] | None = None, last: str = "", **fields: Any
    ) -> None:
        self.events: list[Event] = []
        own = Api(api.path, api.key, APIClient())
        listen = (lambda: own.resume(*resuming, last)) if resuming else (lambda: own.listen(text, **fields))
        self._thread = threading.Thread(target=self._listen, args=(listen,))
        self._thread.start()

    def _listen(self, listen: Callable[[], list[Event]]) -> None:
        try:
            self.events = listen()
        finally:
            connection.close()

    def end(self) -> list[Event]:
        self._thread.join(20)
        assert not self._thread.is_alive()
        return self.events


# ---- Asking ---------------------------------------------------------------------------------------------------------


def test_a_streamed_question_is_answered_here_and_now(api: Api) -> None:
    events = api.listen("hello stream")
    assert names(events) == ["message_start", "text", "message_stop"]
    assert text_of(events) == "Echo: hello stream"
    conversation, message = ids_of(events)
    assert events[-1].data["usage"]["outputTokens"] > 0
    assert kept(api, conversation, message) == (200, "done", "Echo: hello stream")
    assert not Job.objects.filter(kind=running.KIND).exists()
    assert work() == 0
    assert ModelCall.objects.get().fault == ""


def test_while_it_streams_the_job_is_this_processs_and_no_worker_takes_it(api: Api) -> None:
    listening = Listening(api, SLOW)
    wait_for(lambda: Message.objects.filter(lease_expires_at__isnull=False).exists())
    job = Job.objects.get(kind=running.KIND)
    assert (job.state, job.worker, job.attempt) == (State.RUNNING, hosting.CLAIMS.worker, 1)
    assert work() == 0
    turn = TurnRequest.objects.get()
    status = api.answer(turn.conversation_id, turn.message_id)
    assert (status.status_code, status.headers["X-Turn-Status"]) == (404, "running")
    job.refresh_from_db()
    Job.objects.update(due_at=(before := database_now() + queue.lease() / 2))
    hosting.CLAIMS.renew()
    assert Job.objects.get(kind=running.KIND).due_at > before
    assert len(text_of(listening.end()).split()) == WORDS


def test_the_turn_of_a_client_that_leaves_goes_on(api: Api) -> None:
    api.post(question("alone"), HTTP_ACCEPT=EVENT_STREAM)  # and nobody reads the response
    wait_for(lambda: TurnRequest.objects.filter(done_at__isnull=False).exists())
    turn = TurnRequest.objects.get()
    assert kept(api, turn.conversation_id, turn.message_id) == (200, "done", "Echo: alone")


def test_a_continuation_streams_what_joins(api: Api) -> None:
    conversation, message = ids_of(api.listen("[[max_tokens]]"))
    events = api.listen("", conversationId=conversation, continueGenerate=True)
    assert ids_of(events) == (conversation, message)
    assert (events[0].data["continues"], events[0].data["continuedText"]) == (True, "This answer stops")
    assert kept(api, conversation, message)[2] == f"This answer stops{text_of(events)}"


def test_a_turn_that_fails_ends_the_stream_with_its_reason(api: Api) -> None:
    events = api.listen("[[validation]]")
    conversation, message = ids_of(events)
    status, turn_status, sentence = kept(api, conversation, message)
    assert (status, turn_status) == (409, "failed")
    assert names(events) == ["message_start", "error"]
    assert (events[-1].data["status"], events[-1].data["detail"]) == (409, sentence)
    assert (events[-1].data["conversationId"], events[-1].data["messageId"]) == (conversation, message)
    assert names(api.resume(conversation, message)) == ["message_start", "error"]


def test_a_fault_that_may_pass_is_tried_again_by_a_worker(api: Api, emulator: Emulator, settings: LazySettings) -> None:
    settings.MODEL_RETRY_SECONDS = 0
    emulator.queue({"fault": "ServiceUnavailableException"})
    listening = Listening(api, "again")
    wait_for(lambda: Job.objects.filter(kind=running.KIND, state=State.READY).exists())
    Job.objects.filter(kind=running.KIND).update(due_at=database_now())
    assert work() == 1
    events = listening.end()
    assert after_waiting(events) == ["message_start", "restart", "message_start", "text", "message_stop"]
    assert text_of(events) == "Echo: again"
    assert kept(api, *ids_of(events)) == (200, "done", "Echo: again")


def test_a_process_without_room_leaves_the_turn_to_a_worker(api: Api, settings: LazySettings) -> None:
    settings.TURNS = 0
    listening = Listening(api, "no room")
    wait_for(lambda: Job.objects.filter(kind=running.KIND, state=State.READY).exists())
    settings.TURNS = 8
    assert work() == 1
    events = listening.end()
    assert after_waiting(events) == ["message_start", "text", "message_stop"]
    assert text_of(events) == "Echo: no room"
    assert kept(api, *ids_of(events)) == (200, "done", "Echo: no room")


# ---- Order ----------------------------------------------------------------------------------------------------------


def test_a_streamed_question_waits_for_those_before_it_and_is_answered_here(api: Api) -> None:
    conversation, _ = api.ask("one")
    listening = Listening(api, "two", conversationId=conversation)
    wait_for(lambda: hosting._waiting)
    api.ask("three", conversationId=conversation)
    hosting.begin_due()
    assert not Message.objects.exists()
    assert work() == 1
    assert Job.objects.get(kind=running.KIND).worker == hosting.CLAIMS.worker
    hosting.begin_due()
    events = listening.end()
    assert names(events) == ["waiting", "message_start", "text", "message_stop"]
    assert ids_of(events) == ids_of(events[1:])
    assert text_of(events) == "Echo: two"
    assert [work() for _ in range(2)] == [1, 0]
    texts = [row.content[0]["body"] for row in Message.objects.order_by("pk")]
    assert texts == ["one", "Echo: one", "two", "Echo: two", "three", "Echo: three"]


def test_questions_streamed_at_once_to_one_conversation_are_answered_one_after_another(api: Api) -> None:
    conversation, _ = ids_of(api.listen("0"))
    own = [Api(api.path, api.key, APIClient()) for _ in range(4)]
    heard: list[str] = []
    at_once(*(lambda api=api: heard.append(text_of(api.listen("x", conversationId=conversation))) for api in own))
    assert heard == ["Echo: x"] * 4
    parents = Message.objects.order_by("pk").values_list("parent_id", flat=True)
    assert len(set(parents)) == 10, "one branch"


def test_a_reserved_turn_of_a_process_that_is_gone_is_a_workers(api: Api) -> None:
    conversation, _ = api.ask("one")
    _, message = api.ask("two", conversationId=conversation)
    TurnRequest.objects.filter(message_id=message).update(host="gone")
    assert [work(), work()] == [1, 0]
    Job.objects.update(due_at=database_now())
    assert work() == 1
    assert kept(api, conversation, message) == (200, "done", "Echo: two")


def test_turns_behind_one_whose_process_was_lost_do_not_wait_for_that_process_too(api: Api) -> None:
    conversation, first = api.ask("one")
    messages = [first, *(api.ask(text, conversationId=conversation)[1] for text in ("two", "three"))]
    TurnRequest.objects.update(host="gone")
    Job.objects.filter(kind=running.KIND).update(state=State.RUNNING, worker="gone", attempt=1, due_at=database_now())
    assert [work() for _ in range(4)] == [1, 1, 1, 0]
    assert [kept(api, conversation, message)[1] for message in messages] == ["done"] * 3


def test_what_waits_in_a_process_that_is_to_end_is_any_workers(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    conversation, _ = api.ask("one")
    listening = Listening(api, "two", conversationId=conversation)
    wait_for(lambda: hosting._waiting)
    with monkeypatch.context() as ending:
        ending.setattr(shutdown, "_begun", True)
        hosting.begin_due()
        end = listening.end()[-1]
    assert (end.name, end.data["status"], end.data["resume"]) == ("error", 503, True)
    assert [work() for _ in range(3)] == [1, 1, 0]
    turn = TurnRequest.objects.latest("pk")
    assert kept(api, conversation, turn.message_id) == (200, "done", "Echo: two")
    assert turn.host, "somebody may still listen, so it is streamed"


# ---- Coming back ----------------------------------------------------------------------------------------------------


def test_an_answer_that_is_over_is_told_from_any_event_on(api: Api) -> None:
    first = api.listen(SLOW)
    conversation, message = ids_of(first)
    for last in ("", *(event.id for event in first[:-1]), "nonsense", "7-1", "1-99999999999999999999", "-"):
        events = api.resume(conversation, message, last)
        assert names(events) == ["message_start", "text", "message_stop"]
        assert text_of(events) == text_of(first)
        assert events[-1].data == first[-1].data
    seen = api.get(f"/conversation/{conversation}/{message}/stream", HTTP_LAST_EVENT_ID=first[-1].id)
    assert (seen.status_code, seen.headers["X-Turn-Status"]) == (204, "done")


def test_an_answer_that_nobody_streamed_is_told_too(api: Api) -> None:
    conversation, message = api.ask("plain")
    work()
    assert text_of(api.resume(conversation, message)) == "Echo: plain"


def test_who_comes_back_while_it_runs_here_gets_the_rest_or_all_of_it(api: Api) -> None:
    listening = Listening(api, "[[words:20]] [[pace:0.05]]")
    wait_for(lambda: any(len(log.events) > 3 for log in hosting._logs.values()))
    turn = TurnRequest.objects.get()
    ids = turn.conversation_id, turn.message_id
    whole = api.resume(*ids)
    assert names(whole) == ["message_start", "text", "message_stop"]
    heard = listening.end()
    assert text_of(whole) == text_of(heard)
    assert whole[-1].id == heard[-1].id


def test_from_every_event_on_nothing_is_lost_or_told_twice(api: Api) -> None:
    listening = Listening(api, "[[words:9]] [[silence:30:after:6]]")
    wait_for(lambda: any(len(log.events) > 6 for log in hosting._logs.values()))
    turn = TurnRequest.objects.get()
    log = hosting.log_of(turn.pk)
    assert log is not None
    ids = turn.conversation_id, turn.message_id
    resumed = {last: Listening(api, "", resuming=ids, last=f"1-{last}") for last in (1, 2, 3, 6)}
    wait_for(lambda: sse.streams_open() == 1 + len(resumed))
    body(api.stop(*ids))
    whole = text_of(listening.end())
    for last, again in resumed.items():
        rest = again.end()
        assert names(rest)[-1] == "message_stop"
        assert "message_start" not in names(rest)
        seen = "".join(getattr(event, "text", "") for event in log.events[:last])
        assert seen + text_of(rest) == whole


@pytest.mark.parametrize("is_lost", [False, True], ids=["that answers", "that is lost"])
def test_a_turn_that_a_worker_runs_is_heard_to_its_end(api: Api, is_lost: bool) -> None:
    conversation, message = api.ask("[[wait:0.3]] elsewhere")
    worker = threading.Thread(target=_work_and_let_go)
    worker.start()
    wait_for(lambda: Message.objects.filter(lease_expires_at__isnull=False).exists())
    listening = Listening(api, "", resuming=(conversation, message))
    if is_lost:  # its process died: nothing renews the lease, and another one takes the job
        Job.objects.update(due_at=database_now())
        Message.objects.filter(role="user").update(lease_expires_at=database_now())
        wait_for(lambda: work())
    worker.join()
    events = listening.end()
    assert names(events)[-3:] == ["message_start", "text", "message_stop"]
    assert text_of(events) == "Echo: [[wait:0.3]] elsewhere"
    assert kept(api, conversation, message)[:2] == (200, "done")


def _work_and_let_go() -> None:
    try:
        work()
    finally:
        connection.close()


def test_a_second_attempt_begins_with_restart_for_who_has_heard_the_first(api: Api) -> None:
    conversation, message = ids_of(api.listen("hello"))
    Message.objects.filter(role="user").update(attempt=2)
    Message.objects.filter(role="assistant").update(attempt=2)
    assert names(api.resume(conversation, message, "1-2")) == ["restart", "message_start", "text", "message_stop"]
    assert names(api.resume(conversation, message)) == ["message_start", "text", "message_stop"]
    assert names(api.resume(conversation, message, "2-1"))[0] == "message_start"


@pytest.mark.parametrize(("conversation", "message"), [("{c}", "nothing"), ("nowhere", "{m}"), ("{c}", "{a}")])
def test_of_what_was_not_asked_here_there_is_nothing_to_hear_or_stop(api: Api, conversation: str, message: str) -> None:
    events = api.listen()
    c, m = ids_of(events)
    named = [text.format(c=c, m=m, a=events[-1].data["answerId"]) for text in (conversation, message)]
    assert api.get("/conversation/{}/{}/stream".format(*named)).status_code == 404
    assert api.stop(*named).status_code == 404


def test_another_apis_key_hears_and_stops_nothing(api: Api, dave: APIClient) -> None:
    make(dave, "other")
    share(dave, "other", "all")
    other = publish(dave, "other")
    conversation, message = ids_of(api.listen())
    stream = f"/conversation/{conversation}/{message}/stream"
    assert api.get(stream, key=other.key).status_code == 403
    assert other.get(stream).status_code == 404
    assert api.stop(conversation, message, key=other.key).status_code == 403
    assert other.stop(conversation, message).status_code == 404


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
