"""Published answers as they are written: the main API's events, under the turn's job."""

import threading

import pytest
from django.conf import LazySettings
from django.db import connection
from rest_framework.test import APIClient

from bedrock_chat.database.connections import database_now
from bedrock_chat.jobs import queue
from bedrock_chat.jobs.models import Job, State
from bedrock_chat.ledger.models import ModelCall
from bedrock_chat.process import shutdown
from bedrock_chat.wire.event_stream import EVENT_STREAM
from conversations.models import Message
from conversations.streaming import sse
from publication import running
from publication.models import TurnRequest
from publication.streaming import hosting
from tests.bots.bot import body, make, share
from tests.emulator import Emulator
from tests.listening import names, text_of
from tests.publication.api import Api, publish, question, work
from tests.publication.listening import SLOW, WORDS, Listening, after_waiting, ids_of, kept, nothing_left
from tests.together import at_once, wait_for

__all__ = ["nothing_left"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]


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
    listening = Listening(api, f"[[words:{WORDS}]] [[pace:0.25]]")  # slow enough to be looked at on a busy machine
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
