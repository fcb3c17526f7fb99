"""How published turns end that do not simply succeed: retried, failed, withdrawn, suspended, cancelled, given up."""

from collections.abc import Callable
from typing import Any

import pytest
from django.conf import LazySettings
from django.db.models import QuerySet
from rest_framework.test import APIClient

from bedrock_chat.blobs.models import BlobReference
from bedrock_chat.database.connections import database_now
from bedrock_chat.identity.models import User
from bedrock_chat.jobs import queue
from bedrock_chat.jobs.models import Job, State
from bedrock_chat.ledger.models import ModelCall
from bedrock_chat.ledger.recording import PROCESS_LOST
from conversations import deleting
from conversations.models import Conversation, Message
from publication import running
from publication.models import TurnRequest
from tests.bots.bot import body
from tests.conversations.chat import text_of
from tests.emulator import Emulator
from tests.publication.api import Api, publish, question, work
from tests.together import at_once, wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]

Told = tuple[int, str, str]


@pytest.fixture(autouse=True)
def _one_try(settings: LazySettings) -> None:
    """An attempt of a turn asks the model once."""
    settings.MODEL_RETRY_SECONDS = 0


def told(api: Api, conversation: str, message: str) -> Told:
    """Status, X-Turn-Status and the sentence or text of a turn."""
    answer = api.answer(conversation, message)
    shown = answer.json()
    text = text_of(shown["message"]) if answer.status_code == 200 else shown["detail"]
    return answer.status_code, answer.headers["X-Turn-Status"], text


def jobs() -> "QuerySet[Job]":
    return Job.objects.filter(kind=running.KIND)


def make_due() -> None:
    jobs().update(due_at=database_now())


def end_lost() -> None:
    running.end_lost(queue.Claimed(0, "end lost turns", {}, None, 1, "worker"))


@pytest.mark.parametrize("fault", ["ThrottlingException", "ServiceUnavailableException", "ModelNotReadyException"])
def test_a_fault_that_may_pass_is_retried_with_backoff(api: Api, emulator: Emulator, fault: str) -> None:
    emulator.script(fault=fault)
    conversation, message = api.ask()
    work()
    assert told(api, conversation, message)[:2] == (404, "pending")
    waiting = jobs().get()
    assert (waiting.state, waiting.attempt) == (State.READY, 1)
    assert 0.5 < (waiting.due_at - database_now()).total_seconds() < 2.1
    assert work() == 0
    emulator.script()
    make_due()
    work()
    assert told(api, conversation, message) == (200, "done", "Echo: hello")
    assert len(body(api.get(f"/conversation/{conversation}"))["messageMap"]) == 3
    calls = list(ModelCall.objects.order_by("pk").values_list("fault", "input_tokens"))
    assert calls[-1][0] == ""
    assert all(tokens == 0 for name, tokens in calls[:-1] if name), "what was throttled cost nothing"


def test_after_the_last_attempt_the_turn_says_why(api: Api, emulator: Emulator) -> None:
    emulator.script(fault="ServiceUnavailableException")
    conversation, message = api.ask()
    jobs().update(attempt=queue.MOST_ATTEMPTS - 1)
    work()
    status, turn_status, sentence = told(api, conversation, message)
    assert (status, turn_status) == (409, "failed")
    assert sentence
    assert not jobs().exists()


@pytest.mark.parametrize("marker", ["[[validation]]", "[[fault:AccessDeniedException]]"])
def test_a_fault_that_stays_fails_with_its_reason(api: Api, marker: str) -> None:
    conversation, message = api.ask(marker)
    for _ in range(2):
        work()
    if TurnRequest.objects.get().done_at is None:  # a 502 may pass, as far as anybody knows
        jobs().update(attempt=queue.MOST_ATTEMPTS - 1, due_at=database_now())
        work()
    failed = api.answer(conversation, message)
    assert (failed.status_code, failed.headers["X-Turn-Status"]) == (409, "failed")
    assert failed.json()["detail"]
    assert TurnRequest.objects.get().reason == failed.json()["detail"]


def test_the_turn_after_a_failed_one_runs(api: Api) -> None:
    conversation, failing = api.ask("[[validation]]")
    _, second = api.ask("again", conversationId=conversation)
    assert jobs().count() == 1
    assert [work(), work(), work()] == [1, 1, 0]
    assert told(api, conversation, failing)[0] == 409
    assert told(api, conversation, second) == (200, "done", "Echo: again")


def test_many_turns_of_one_conversation_have_one_job(api: Api) -> None:
    conversation, _ = api.ask("0")
    for number in range(1, 12):
        api.ask(str(number), conversationId=conversation)
    assert jobs().count() == 1
    assert [work() for _ in range(13)] == [1] * 12 + [0]


def test_questions_that_come_while_turns_end_are_all_answered(api: Api) -> None:
    conversation, _ = api.ask("0")

    def ask() -> None:
        for number in range(6):
            Api(api.path, api.key, APIClient()).ask(str(number), conversationId=conversation)

    def run() -> None:
        for _ in range(30):
            work()

    at_once(ask, ask, run)
    while work():
        pass
    assert not TurnRequest.objects.filter(done_at=None).exists()
    assert not jobs().exists()
    assert Message.objects.count() == 2 * 13


# ---- Withdrawal -----------------------------------------------------------------------------------------------------


def withdraw(owner: APIClient) -> None:
    body(owner.delete("/bot/helper/publication"))


def delete_bot(owner: APIClient) -> None:
    body(owner.delete("/bot/helper"))


END = pytest.mark.parametrize("end", [withdraw, delete_bot])


@END
def test_what_waits_never_runs_and_leaves_no_file(
    api: Api, dave: APIClient, emulator: Emulator, png: str, end: Callable[[APIClient], None]
) -> None:
    sent: dict[str, Any] = question()
    sent["message"]["content"].insert(0, {"contentType": "image", "mediaType": "image/png", "body": png})
    first = body(api.post(sent))
    api.ask("second", conversationId=first["conversationId"])
    end(dave)
    assert work() == 0
    assert emulator.requests() == []
    assert set(TurnRequest.objects.values_list("reason", flat=True)) == {running.WITHDRAWN}
    assert not jobs().exists()
    assert not BlobReference.objects.filter(owner_kind=running.BLOB_OWNER).exists()
    assert api.answer(first["conversationId"], first["messageId"]).status_code == 403


@END
@pytest.mark.usefixtures("beating_heart")
def test_what_runs_is_stopped_and_its_call_stays_in_the_ledger(
    api: Api, dave: APIClient, emulator: Emulator, end: Callable[[APIClient], None]
) -> None:
    api.ask("[[wait:20]] long")

    def end_when_it_runs() -> None:
        wait_for(lambda: emulator.requests())
        end(dave)

    at_once(work, end_when_it_runs)
    assert TurnRequest.objects.get().reason == running.WITHDRAWN
    assert not jobs().exists()
    [call] = ModelCall.objects.all()
    assert call.fault != PROCESS_LOST
    assert not Message.objects.filter(lease_expires_at__isnull=False).exists()


def test_a_new_publication_sees_nothing_of_the_old_one(api: Api, dave: APIClient) -> None:
    conversation, message = api.ask()
    work()
    withdraw(dave)
    again = publish(dave, "helper")
    assert again.path == api.path
    assert again.key != api.key
    assert again.answer(conversation, message).status_code == 404
    assert again.get(f"/conversation/{conversation}").status_code == 404
    assert api.get("/health").status_code == 403


# ---- Suspension, operators, lost processes --------------------------------------------------------------------------


def test_turns_of_a_suspended_owner_wait_and_go_on(api: Api, emulator: Emulator) -> None:
    conversation, message = api.ask()
    User.objects.filter(username="dave").update(is_active=False)
    work()
    assert emulator.requests() == []
    assert TurnRequest.objects.get().done_at is None
    User.objects.filter(username="dave").update(is_active=True)
    make_due()
    work()
    assert told(api, conversation, message) == (200, "done", "Echo: hello")


def test_a_turn_whose_job_was_cancelled_says_so_and_the_next_one_runs(api: Api) -> None:
    conversation, message = api.ask()
    _, second = api.ask("second", conversationId=conversation)
    assert queue.cancel(jobs().get().pk)
    end_lost()
    assert told(api, conversation, message) == (409, "failed", running.CANCELLED)
    work()
    assert told(api, conversation, second) == (200, "done", "Echo: second")


def test_a_turn_that_no_worker_survives_is_given_up(api: Api) -> None:
    conversation, message = api.ask()
    jobs().update(attempt=queue.MOST_ATTEMPTS)
    assert work() == 0
    assert jobs().get().state == State.DEAD
    end_lost()
    assert told(api, conversation, message) == (409, "failed", running.GIVEN_UP)
    assert not jobs().exists()


def test_turns_that_wait_or_run_are_not_lost(api: Api) -> None:
    conversation, _ = api.ask()
    api.ask("second", conversationId=conversation)
    end_lost()
    queue.claim("worker", 10)
    end_lost()
    assert TurnRequest.objects.filter(done_at=None).count() == 2


def test_the_call_of_a_killed_attempt_stays_in_the_ledger(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process dies while the model answers: nothing of it is written after that, and the job is claimed again."""
    conversation, message = api.ask()

    class Killed(BaseException):
        pass

    def die(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as dying:
        dying.setattr("conversations.turn.closing.close_turn", die)
        dying.setattr("conversations.turn.closing.close_failed", die)
        with pytest.raises(Killed):
            work()
    [call] = ModelCall.objects.all()
    assert (call.fault, call.estimated, call.output_tokens) == (PROCESS_LOST, True, 0)
    assert call.input_tokens > 0
    assert told(api, conversation, message)[:2] == (404, "running")
    Message.objects.update(lease_expires_at=database_now())
    make_due()
    work()
    assert told(api, conversation, message) == (200, "done", "Echo: hello")
    first, second = ModelCall.objects.order_by("pk")
    assert (first.fault, second.fault) == (PROCESS_LOST, "")
    assert (first.payer_id, first.key_id) == (second.payer_id, second.key_id)
    assert len(body(api.get(f"/conversation/{conversation}"))["messageMap"]) == 3


def test_a_second_worker_that_runs_the_same_turn_adds_nothing(api: Api) -> None:
    conversation, message = api.ask()
    [first] = queue.claim("one", 10)
    make_due()
    [second] = queue.claim("two", 10)
    running.run(second)
    with pytest.raises(queue.LeaseLost):
        running.run(first)
    assert told(api, conversation, message) == (200, "done", "Echo: hello")
    assert Message.objects.count() == 2


def test_of_an_answer_that_was_pruned_the_status_is_what_became_of_the_question(api: Api) -> None:
    conversation, message = api.ask()
    work()
    deleting.delete_rows(list(Conversation.objects.filter(external_id=conversation).values_list("pk", flat=True)))
    assert told(api, conversation, message)[:2] == (404, "done")


def test_of_what_nobody_asked_there_is_no_status(api: Api) -> None:
    answer = api.answer("c", "m")
    assert answer.status_code == 404
    assert "X-Turn-Status" not in answer.headers
