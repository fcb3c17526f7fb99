"""A request that is sent again with its Idempotency-Key does nothing twice."""

import json
import os
import signal
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from bedrock_chat.database.connections import database_now
from bedrock_chat.identity import erasing
from bedrock_chat.identity.caller import Program
from bedrock_chat.identity.models import User
from bedrock_chat.jobs import queue
from bedrock_chat.jobs.models import Job
from publication import accepting
from publication.idempotency import claiming, removal
from publication.idempotency.claiming import Keyed
from publication.models import ApiKey, Gate, IdempotencyKey, Publication, Route, TurnRequest
from tests.bots.bot import body, make, share
from tests.conversations.test_queries import statements
from tests.publication.api import Api, limits, publish, question, work
from tests.publication.test_together import in_processes
from tests.together import at_once, wait_for

KEYS = 20 if os.environ.get("SLOW") else 2
"""That each process sends."""

pytestmark = pytest.mark.django_db(transaction=True)


def ask(api: Api, key: str = "k-1", text: str = "hello", **fields: Any) -> Any:
    return api.post(question(text, **fields), HTTP_IDEMPOTENCY_KEY=key)


def used() -> int:
    return int(Gate.objects.get(account=ApiKey.objects.earliest("created_at").lineage).used)


def age(**since: float) -> None:
    IdempotencyKey.objects.update(claimed_at=database_now() - timedelta(**since))


def remove() -> None:
    """Does the periodic job."""
    pk = Job.objects.create(
        kind=removal.KIND, state="running", worker="w", attempt=1, due_at=database_now() + timedelta(minutes=1),
        created_at=database_now(),
    ).pk  # fmt: skip
    removal.remove(queue.Claimed(pk, removal.KIND, {}, None, 1, "w"))
    Job.objects.filter(pk=pk).delete()


def killed(call: Callable[[], Any]) -> None:
    """Makes the call in a process of its own, which it kills."""
    connections.close_all()
    if connection.vendor == "postgresql":
        connection.close_pool()
    pid = os.fork()
    if pid == 0:
        call()
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


# ---- The same request -----------------------------------------------------------------------------------------------


@pytest.mark.both
def test_a_question_that_is_sent_again_has_the_same_answer_and_is_asked_once(api: Api) -> None:
    first = body(ask(api))
    assert body(ask(api)) == first
    work()
    assert body(ask(api)) == first
    assert TurnRequest.objects.count() == 1
    assert api.answer(first["conversationId"], first["messageId"]).status_code == 200


def test_without_a_key_or_with_another_one_it_is_another_question(api: Api) -> None:
    answers = [body(ask(api, "a")), body(ask(api, "b")), body(api.post(question())), body(api.post(question()))]
    assert len({answer["messageId"] for answer in answers}) == TurnRequest.objects.count() == 4
    assert IdempotencyKey.objects.count() == 2


def test_names_spacing_and_order_of_the_json_do_not_matter(api: Api) -> None:
    first = body(ask(api))
    message = {"model": "claude-v3.7-sonnet", "content": [{"body": "hello", "content_type": "text"}]}
    again = api.client.post(
        f"{api.path}/conversation", json.dumps({"message": message}, indent=4), content_type="application/json",
        HTTP_X_API_KEY=api.key, HTTP_IDEMPOTENCY_KEY="k-1",
    )  # fmt: skip
    assert body(again) == first


def test_another_body_is_refused_and_says_why(api: Api) -> None:
    body(ask(api))
    for changed in ({"text": "other"}, {"userLabel": "x"}, {"conversationId": "c"}):
        refused = ask(api, **changed)
        assert refused.status_code == 422
        assert refused.json()["detail"] == "This Idempotency-Key was sent with another body before."
    assert TurnRequest.objects.count() == 1


def test_a_continuation_is_one_request_too(api: Api) -> None:
    conversation, _ = api.ask("[[max_tokens]] hello")
    work()
    sent = {**question(), "continueGenerate": True, "conversationId": conversation}
    answers = [api.post(sent, HTTP_IDEMPOTENCY_KEY="more") for _ in range(2)]
    assert body(answers[0]) == body(answers[1])
    assert TurnRequest.objects.filter(continue_generate=True).count() == 1


# ---- What it costs --------------------------------------------------------------------------------------------------


@pytest.mark.both
def test_a_replay_is_free_and_works_with_an_empty_quota(dave: APIClient, emulator: Any) -> None:
    make(dave, "helper")
    share(dave, "helper", "all")
    api = publish(dave, "helper", limits(quota=1, rate=0.001, burst=1))
    first = body(ask(api))
    assert ask(api, "another").status_code == 429
    for _ in range(3):
        assert body(ask(api)) == first
    assert ask(api, text="other").status_code == 422
    assert used() == 1


@pytest.mark.both
def test_a_replay_reads_the_key_and_the_kept_answer_and_writes_nothing(api: Api) -> None:
    with CaptureQueriesContext(connection) as first:
        body(ask(api))
    with CaptureQueriesContext(connection) as again:
        body(ask(api))
    # On top of an accepted question: the lookup, the key that encrypts, and the row.
    assert len(statements(first)) <= (10 if connection.vendor == "sqlite" else 12), statements(first)
    assert len(statements(again)) <= 3, statements(again)
    assert not [sql for sql in statements(again) if not sql.startswith("SELECT")]


def test_what_is_refused_is_not_kept(api: Api, settings: LazySettings) -> None:
    assert api.post({"message": {}}, HTTP_IDEMPOTENCY_KEY="k-1").status_code == 400
    settings.PUBLISHED_BACKLOG = 1
    body(api.post(question()))
    assert ask(api).status_code == 503
    assert used() == 2, "the 503 was given back"
    assert not IdempotencyKey.objects.exists()
    work()
    assert ask(api).status_code == 200


def test_what_is_no_key_is_refused_and_counts_nothing(api: Api) -> None:
    for value in ("", "é", '"a'):
        refused = ask(api, value)
        assert refused.status_code == 400
        assert refused.json()["detail"].startswith("Idempotency-Key: ")
    assert used() == 0


# ---- Scope ----------------------------------------------------------------------------------------------------------


def test_a_rotated_key_knows_the_requests_of_the_one_before(api: Api, dave: APIClient) -> None:
    first = body(ask(api))
    path = "/bot/helper/publication/api-key"
    rotated = body(dave.post(f"{path}/{ApiKey.objects.get().pk}/rotate", {"overlapHours": 0}, format="json"))["value"]
    assert body(api.post(question(), key=rotated, HTTP_IDEMPOTENCY_KEY="k-1")) == first


def test_another_key_of_the_api_and_another_api_know_nothing_of_it(api: Api, dave: APIClient, bob: APIClient) -> None:
    ids = {body(ask(api))["messageId"]}
    other = body(dave.post("/bot/helper/publication/api-key", {"description": "k"}, format="json"))["value"]
    ids.add(body(api.post(question(), key=other, HTTP_IDEMPOTENCY_KEY="k-1"))["messageId"])
    make(bob, "bobs")
    share(bob, "bobs", "all")
    ids.add(body(ask(publish(bob, "bobs")))["messageId"])
    assert len(ids) == TurnRequest.objects.count() == 3


def test_each_route_has_keys_of_its_own(api: Api) -> None:
    body(ask(api))
    row = IdempotencyKey.objects.get()
    assert claiming.find(Keyed(row.publication_id, row.lineage, Route.CONVERSATION, row.digest)) is not None
    assert claiming.find(Keyed(row.publication_id, row.lineage, Route.CHAT_COMPLETIONS, row.digest)) is None


def test_a_wrong_key_of_the_api_replays_nothing(api: Api) -> None:
    body(ask(api))
    assert api.post(question(), key="wrong", HTTP_IDEMPOTENCY_KEY="k-1").status_code == 403


# ---- At once --------------------------------------------------------------------------------------------------------


@pytest.mark.both
def test_equal_requests_at_once_are_accepted_once_and_counted_once(api: Api) -> None:
    together = threading.Barrier(6)

    def send() -> Any:
        together.wait()
        return ask(Api(api.path, api.key, APIClient()))

    answers = [body(answer) for answer in at_once(*[send] * 6)]
    assert len({answer["messageId"] for answer in answers}) == 1
    assert TurnRequest.objects.count() == Job.objects.filter(kind="published turn").count() == 1
    assert used() == 1


@pytest.mark.both
def test_the_last_of_a_quota_is_not_refused_to_the_request_that_has_it(dave: APIClient, emulator: Any) -> None:
    make(dave, "helper")
    share(dave, "helper", "all")
    api = publish(dave, "helper", limits(quota=1))
    together = threading.Barrier(4)

    def send() -> Any:
        together.wait()
        return ask(Api(api.path, api.key, APIClient())).status_code

    statuses = at_once(*[send] * 4)
    assert 200 in statuses
    assert TurnRequest.objects.count() == 1
    assert ask(api).status_code == 200
    assert used() == 1


@pytest.mark.both
def test_processes_that_send_the_same_at_once_have_one_answer_for_each_key(api: Api) -> None:
    def send() -> list[str]:
        ids = []
        for number in range(KEYS):
            while (answer := ask(api, f"k-{number}")).status_code == 503:  # SQLite's lock was busy for too long
                pass
            ids.append(body(answer)["messageId"])
        return ids

    results = in_processes(send)
    assert len({tuple(ids) for ids in results}) == 1
    assert TurnRequest.objects.count() == IdempotencyKey.objects.count() == used() == KEYS


@pytest.mark.both
@pytest.mark.parametrize("moment", ["claiming.keep", "running.enqueue"])
def test_a_process_that_is_killed_while_it_accepts_leaves_neither_question_nor_key(
    api: Api, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    module, _, name = moment.partition(".")
    real = getattr(getattr(accepting, module), name)

    def die(*arguments: Any, **options: Any) -> None:
        real(*arguments, **options)
        os.kill(os.getpid(), signal.SIGKILL)

    with monkeypatch.context() as dying:
        dying.setattr(getattr(accepting, module), name, die)
        killed(lambda: ask(api))
    assert not IdempotencyKey.objects.exists()
    assert not TurnRequest.objects.exists()
    assert body(ask(api)) == body(ask(api))


@pytest.mark.both
def test_the_key_of_a_process_that_is_killed_while_it_answers_is_free_after_its_lease(
    api: Api, settings: LazySettings
) -> None:
    settings.TURN_LEASE_SECONDS = 1
    key = ApiKey.objects.get()
    keyed = Keyed(key.publication_id, key.lineage, Route.CHAT_COMPLETIONS, "d" * 64)

    def begin_and_die() -> None:
        claiming.begin(keyed, "p")
        os.kill(os.getpid(), signal.SIGKILL)

    killed(begin_and_die)
    earlier = claiming.find(keyed)
    assert earlier is not None
    assert earlier.is_running
    wait_for(lambda: claiming.find(keyed) is None, seconds=3)
    with claiming.begin(keyed, "p") as claim:
        claim.finish("second")


# ---- The end of keys ------------------------------------------------------------------------------------------------


@pytest.mark.both
def test_after_24_hours_a_key_is_free_whether_or_not_the_job_ran(api: Api) -> None:
    first = body(ask(api))
    age(hours=23.99)
    assert body(ask(api)) == first
    age(hours=24)
    second = body(ask(api, text="another body"))
    assert second != first
    assert body(ask(api, text="another body")) == second
    age(hours=24)
    remove()
    assert not IdempotencyKey.objects.exists()


@pytest.mark.both
@pytest.mark.parametrize("bound", ["number", "bytes"])
def test_of_too_many_the_oldest_go(api: Api, settings: LazySettings, bound: str, monkeypatch: Any) -> None:
    ids = [body(ask(api, f"k-{number}"))["messageId"] for number in range(5)]
    if bound == "number":
        settings.IDEMPOTENCY_KEYS = 2
    else:
        settings.IDEMPOTENCY_MB = 1
        IdempotencyKey.objects.update(size=removal.MEGABYTE // 2)
    IdempotencyKey.objects.filter(pk=IdempotencyKey.objects.earliest("pk").pk).update(
        lease_expires_at=database_now() + timedelta(seconds=10), encrypted_answer="", size=0
    )
    remove()
    assert IdempotencyKey.objects.filter(lease_expires_at__isnull=False).delete()[0] == 1, "what runs stays"
    assert IdempotencyKey.objects.count() == 2
    assert [body(ask(api, f"k-{number}"))["messageId"] for number in (3, 4)] == ids[3:]
    assert body(ask(api, "k-0"))["messageId"] not in ids


@pytest.mark.both
def test_with_the_api_its_keys_go(api: Api, dave: APIClient) -> None:
    body(ask(api))
    body(dave.delete("/bot/helper/publication"))
    assert Job.objects.get(kind=removal.KIND).due_at <= database_now()
    assert ask(api).status_code == 403
    again = publish(dave, "helper")
    body(ask(again))
    remove()
    assert list(IdempotencyKey.objects.values_list("publication_id", flat=True)) == [Publication.objects.get().pk]


@pytest.mark.both
def test_with_the_owner_they_go_also_those_of_withdrawn_apis(api: Api, dave: APIClient, bob: APIClient) -> None:
    body(ask(api))
    body(dave.delete("/bot/helper/publication"))
    body(ask(publish(dave, "helper")))
    make(bob, "bobs")
    share(bob, "bobs", "all")
    body(ask(publish(bob, "bobs")))
    list(erasing.erase(User.objects.get(username="dave").pk, actor=Program.command("erase_user")))
    assert list(IdempotencyKey.objects.values_list("publication_id", flat=True)) == [Publication.objects.get().pk]
