"""The queue's rows: who may take a job, who may finish it, and what becomes of one that fails."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from bedrock_chat.database.connections import release_connection
from bedrock_chat.jobs import backlog, beginning, queue, sweep
from bedrock_chat.jobs.models import Job, State
from bedrock_chat.jobs.queue import LeaseLost
from tests.jobs.leases import claim_one, end_leases, fail_as_often_as_allowed, lose_its_worker_as_often_as_allowed

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("kinds")]


def test_a_job_is_given_once_with_what_was_asked() -> None:
    queue.enqueue("note", {"number": 7, "text": "日本"})
    job = claim_one()
    assert (job.kind, job.payload, job.attempt) == ("note", {"number": 7, "text": "日本"}, 1)
    assert queue.claim("worker-2", 5) == []


def test_ten_workers_who_ask_at_once_share_the_jobs() -> None:
    for number in range(30):
        queue.enqueue("note", {"number": number})

    def take(worker: int) -> list[int]:
        try:
            return [job.payload["number"] for job in queue.claim(f"worker-{worker}", 3)]
        finally:
            release_connection(final=True)

    with ThreadPoolExecutor(10) as pool:
        taken = [number for numbers in pool.map(take, range(10)) for number in numbers]
    assert len(taken) == len(set(taken))
    taken += [job.payload["number"] for job in queue.claim("last", 30)]
    assert sorted(taken) == list(range(30))


def test_no_more_are_given_than_were_asked_for_and_the_longest_due_come_first() -> None:
    for number in range(5):
        queue.enqueue("note", {"number": number})
        Job.objects.filter(payload={"number": number}).update(due_at=timezone.now() - timedelta(minutes=number))
    assert sorted(job.payload["number"] for job in queue.claim("worker-1", 2)) == [3, 4]


def test_what_falls_due_later_is_not_given_yet() -> None:
    queue.enqueue("note", {"number": 1}, delay=60)
    assert queue.claim("worker-1", 1) == []
    due = queue.next_due()
    assert due is not None
    assert 50 < (due - timezone.now()).total_seconds() < 61


def test_a_rolled_back_transaction_asked_for_nothing() -> None:
    with transaction.atomic():
        queue.enqueue("note")
        transaction.set_rollback(True)
    assert not Job.objects.exists()


def test_a_key_is_held_by_one_job_at_a_time() -> None:
    for number in range(3):
        queue.enqueue("note", {"number": number}, key="the one")
    assert [job.payload for job in queue.claim("worker-1", 5)] == [{"number": 0}]


def test_nobody_is_asked_for_what_nobody_does() -> None:
    with pytest.raises(queue.UnknownKind):
        queue.enqueue("dance")


def test_a_finished_job_is_gone_with_its_result() -> None:
    queue.enqueue("note")
    job = claim_one()
    with transaction.atomic():
        job.finish()
    assert job.finished
    assert not Job.objects.exists()


def test_a_result_that_is_rolled_back_leaves_the_job() -> None:
    queue.enqueue("note")
    job = claim_one()
    with transaction.atomic():
        job.finish()
        transaction.set_rollback(True)
    assert Job.objects.get().state == State.RUNNING


def test_who_slept_past_the_lease_may_not_finish_what_somebody_else_took() -> None:
    queue.enqueue("note")
    zombie = claim_one()
    end_leases()
    (successor,) = queue.claim("worker-2", 1)
    assert successor.attempt == 2
    with pytest.raises(LeaseLost), transaction.atomic():
        zombie.finish()
    queue.fail(zombie, "nobody listens")
    queue.give_back(zombie)
    assert (Job.objects.get().worker, Job.objects.get().reason) == ("worker-2", "")
    with transaction.atomic():
        successor.finish()


def test_a_lease_is_renewed_while_it_lives_and_never_revived() -> None:
    queue.enqueue("note")
    job = claim_one()
    Job.objects.update(due_at=timezone.now() + timedelta(seconds=1))
    queue.renew("worker-1", [job])
    assert (Job.objects.get().due_at - timezone.now()).total_seconds() > 5
    end_leases()
    queue.renew("worker-1", [job])
    assert Job.objects.get().due_at < timezone.now()


def test_a_job_that_fails_waits_longer_each_time_and_dies_with_the_reason() -> None:
    queue.enqueue("note")
    waits = []
    for attempt in range(1, queue.MOST_ATTEMPTS + 1):
        job = claim_one()
        assert job.attempt == attempt
        queue.fail(job, f"try  {attempt}\nand more")
        row = Job.objects.get()
        if attempt < queue.MOST_ATTEMPTS:
            waits.append((row.due_at - timezone.now()).total_seconds())
            assert (row.state, row.reason) == (State.READY, f"try {attempt} and more")
            end_leases()
    assert all(queue.FIRST_BACKOFF * 2**n / 2 - 1 < wait <= queue.FIRST_BACKOFF * 2**n for n, wait in enumerate(waits))
    assert (row.state, row.worker) == (State.DEAD, "")
    assert queue.claim("worker-1", 1) == []
    assert queue.next_due() is None


def test_a_job_that_keeps_killing_its_workers_is_buried() -> None:
    queue.enqueue("note")
    lose_its_worker_as_often_as_allowed()
    assert queue.claim("worker-1", 1) == []
    row = Job.objects.get()
    assert (row.state, row.reason) == (State.DEAD, "Its worker was lost 8 times.")


def test_a_job_that_is_given_back_has_not_been_tried() -> None:
    queue.enqueue("note")
    queue.give_back(claim_one())
    assert claim_one().attempt == 1


def test_an_operator_retries_what_is_dead_and_not_what_runs() -> None:
    queue.enqueue("note")
    job = claim_one()
    assert not queue.retry(job.pk)
    queue.give_back(job)
    fail_as_often_as_allowed()
    assert Job.objects.get().state == State.DEAD
    assert queue.retry(job.pk)
    assert claim_one().attempt == 1


def test_a_cancelled_job_is_refused_its_finish() -> None:
    queue.enqueue("note")
    job = claim_one()
    assert queue.cancel(job.pk)
    assert not queue.cancel(job.pk)
    with pytest.raises(LeaseLost), transaction.atomic():
        job.finish()


# ---- Constraints and the index --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "columns",
    [{"state": "running"}, {"worker": "worker-1"}, {"state": "dead"}, {"state": "dead", "worker": "x", "reason": "y"}],
)
def test_a_state_that_disagrees_with_its_lease_is_no_state(columns: dict[str, str]) -> None:
    queue.enqueue("note")
    with pytest.raises(IntegrityError), transaction.atomic():
        Job.objects.update(**columns)


def plan_of(sql: str, values: Any) -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"{'EXPLAIN' if connection.vendor == 'postgresql' else 'EXPLAIN QUERY PLAN'} {sql}", values)
        return json.dumps(cursor.fetchall(), default=str)


@pytest.mark.parametrize("is_in_line", [False, True])
def test_of_thousands_of_syncs_who_looks_for_other_jobs_reads_none_however_few_kinds_there_are(
    is_in_line: bool,
) -> None:
    now = timezone.now()
    times = {"due_at": now - timedelta(minutes=1), "created_at": now}
    columns = {"party": "alice", "place": 1} if is_in_line else {}
    Job.objects.bulk_create(Job(kind="sync", **columns, **times) for _ in range(5_000))
    moment = connection.ops.adapt_datetimefield_value(now)
    values: dict[str, Any] = {"worker": "w", "until": moment, "now": moment, "limit": 1}
    kinds: list[str] = []
    for count in (1, 5, 20):
        new = [f"kind {number}" for number in range(len(kinds), count)]
        kinds += new
        Job.objects.bulk_create(Job(kind=kind, due_at=now, created_at=now) for kind in new)
        with connection.cursor() as cursor:
            cursor.execute(f"ANALYZE {Job._meta.db_table}")
        for room in ([], ["sync"]):
            rooms, lines = json.dumps(dict.fromkeys(kinds + room, 1)), json.dumps(dict.fromkeys(room, 1))
            claim = plan_of(beginning.claim_sql(connection.vendor), {**values, "rooms": rooms, "lines": lines})
            arrays = {"kinds": queue._array(kinds + room), "lines": queue._array(room)}
            for plan in (claim, plan_of(beginning.next_due_sql(connection.vendor), arrays)):
                assert "jobs_of_a_kind_that_fall_due" in plan, (count, plan)
                assert "jobs_in_line" in plan, (count, plan)
                assert "jobs_by_time" not in plan, (count, plan)
                assert not re.search(r"(Seq Scan on|SCAN) (bedrock_chat_)?job", plan), (count, plan)


def test_probes_and_celery_s_workers_look_at_all_kinds_by_time() -> None:
    now = timezone.now()
    Job.objects.bulk_create(Job(kind="note", due_at=now, created_at=now) for _ in range(1_000))
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {Job._meta.db_table}")
    queries: list[tuple[str, Any]] = []

    def noted(execute: Any, sql: str, values: Any, *arguments: Any) -> Any:
        queries.append((sql, values))
        return execute(sql, values, *arguments)

    for look in (backlog.look, lambda: sweep._next_due(now)):
        with connection.execute_wrapper(noted):
            look()
    with transaction.atomic():
        if connection.vendor == "postgresql":  # which sorts a small table
            connection.cursor().execute("SET LOCAL enable_seqscan = off")
        plans = [plan_of(sql, values) for sql, values in queries if "due_at" in sql]
    assert len(plans) == 2
    for plan in plans:
        assert "jobs_by_time" in plan, plan


@pytest.mark.parametrize(
    ("interval", "wait", "is_due"), [(5, 200, False), (5, 3600, True), (3600, 3599, False), (3600, 7200, True)]
)
def test_a_periodic_job_does_not_wait_for_a_clock_that_was_set_back(
    settings: Any, interval: float, wait: float, is_due: bool
) -> None:
    settings.JOB_SCHEDULE = {"tick": interval}
    queue.follow_schedule()
    queue.enqueue("note", delay=wait)  # which somebody wanted so
    Job.objects.update(due_at=timezone.now() + timedelta(seconds=wait))
    queue.follow_schedule()
    assert [job.kind for job in queue.claim("worker-1", 2)] == (["tick"] if is_due else [])


@pytest.mark.parametrize(("left", "shortened"), [(0.5, 0.5), (1.5, 1), (240, 1)])
def test_the_lease_of_a_job_is_never_longer_than_its_length_although_the_clock_was_set_back(
    left: float, shortened: float
) -> None:
    """In lengths of a lease."""
    queue.enqueue("note")
    claim_one()
    Job.objects.update(due_at=timezone.now() + left * queue.lease())
    queue.follow_schedule()
    assert shortened - 0.1 < (Job.objects.get().due_at - timezone.now()) / queue.lease() <= shortened


# ---- Asking again ---------------------------------------------------------------------------------------------------


def test_a_job_that_is_asked_for_now_begins_however_long_it_would_wait_or_how_often_it_failed() -> None:
    queue.enqueue("note", {"number": 1}, delay=3600, key="one")
    queue.enqueue_now("note", {"number": 2}, key="one")
    job = claim_one()
    assert (job.payload, job.attempt) == ({"number": 2}, 1)
    for _ in range(queue.MOST_ATTEMPTS - 1):
        queue.fail(job, "the model was away")
        end_leases()
        job = claim_one()
    queue.fail(job, "the model was away")
    assert Job.objects.get().state == State.DEAD
    queue.enqueue_now("note", {"number": 3}, key="one")
    job = claim_one()
    assert (job.payload, job.attempt) == ({"number": 3}, 1)


def test_a_job_that_is_asked_for_while_it_runs_is_left_alone() -> None:
    queue.enqueue_now("note", {"number": 1}, key="one")
    job = claim_one()
    queue.enqueue_now("note", {"number": 2}, key="one")
    assert queue.claim("worker-2", 1) == []
    with transaction.atomic():
        job.finish()
    assert not Job.objects.exists()
