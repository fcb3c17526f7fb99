"""Periodic jobs, and jobs of another version of this program."""

from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from bedrock_chat.jobs import queue
from bedrock_chat.jobs.models import Job, State
from bedrock_chat.jobs.queue import LeaseLost
from tests.jobs.leases import claim_one, end_leases, fail_as_often_as_allowed, lose_its_worker_as_often_as_allowed

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("kinds")]


def keys() -> list[str]:
    return sorted(str(key) for key in Job.objects.values_list("key", flat=True))


def test_a_periodic_job_is_there_once_and_comes_again(settings: Any) -> None:
    settings.JOB_SCHEDULE = {"tick": 30}
    queue.follow_schedule()
    queue.follow_schedule()
    job = claim_one()
    with transaction.atomic():
        job.finish()
    row = Job.objects.get()
    assert (row.state, row.attempt, row.worker) == (State.READY, 0, "")
    assert 25 < (row.due_at - timezone.now()).total_seconds() <= 30


def test_a_periodic_job_that_fails_comes_soon_and_in_the_end_with_its_schedule(settings: Any) -> None:
    settings.JOB_SCHEDULE = {"tick": 3600}
    queue.follow_schedule()
    for attempt in range(1, queue.MOST_ATTEMPTS + 1):
        queue.fail(claim_one(), f"try {attempt}")
        row = Job.objects.get()
        wait = (row.due_at - timezone.now()).total_seconds()
        assert (row.state, row.reason) == (State.READY, f"try {attempt}")
        assert wait <= queue.FIRST_BACKOFF * 2**attempt if attempt < queue.MOST_ATTEMPTS else 3590 < wait <= 3600
        end_leases()
    assert claim_one().attempt == 1


def test_a_frequent_job_whose_attempts_are_spent_waits_for_the_longer_backoff(settings: Any) -> None:
    settings.JOB_SCHEDULE = {"tick": 2}
    queue.follow_schedule()
    fail_as_often_as_allowed()
    assert (
        Job.objects.get().due_at - timezone.now()
    ).total_seconds() > queue.FIRST_BACKOFF * 2**queue.MOST_ATTEMPTS / 5


def test_why_a_periodic_job_failed_is_told_until_it_succeeds(settings: Any) -> None:
    settings.JOB_SCHEDULE = {"tick": 2}
    queue.follow_schedule()
    fail_as_often_as_allowed("the disk was full")
    end_leases()
    job = claim_one()
    assert Job.objects.get().reason == "the disk was full"
    with transaction.atomic():
        job.finish()
    assert Job.objects.get().reason == ""


def test_a_periodic_job_that_keeps_killing_its_workers_comes_again(settings: Any) -> None:
    settings.JOB_SCHEDULE = {"tick": 30}
    queue.follow_schedule()
    lose_its_worker_as_often_as_allowed()
    assert queue.claim("worker-1", 1) == []
    row = Job.objects.get()
    assert (row.state, row.reason) == (State.READY, "Its worker was lost 8 times.")
    end_leases()
    assert claim_one().attempt == 1


def test_a_periodic_job_that_is_dead_is_revived(settings: Any) -> None:
    settings.JOB_SCHEDULE = {"tick": 30}
    queue.follow_schedule()
    Job.objects.update(state=State.DEAD, attempt=8, reason="It died in an older version.")
    queue.follow_schedule()
    assert (claim_one().attempt, Job.objects.get().reason) == (1, "It died in an older version.")


def test_who_cancels_a_periodic_job_cancels_this_run_and_not_the_next(settings: Any) -> None:
    settings.JOB_SCHEDULE = {"tick": 30}
    queue.follow_schedule()
    job = claim_one()
    assert queue.cancel(job.pk)
    with pytest.raises(LeaseLost), transaction.atomic():
        job.finish()
    row = Job.objects.get()
    assert row.state == State.READY
    assert 25 < (row.due_at - timezone.now()).total_seconds() <= 30
    end_leases()
    next_run = claim_one()
    with pytest.raises(LeaseLost), transaction.atomic():
        job.finish()
    with transaction.atomic():
        next_run.finish()


def test_a_periodic_job_that_was_deleted_comes_again(settings: Any) -> None:
    settings.JOB_SCHEDULE = {"tick": 30}
    queue.follow_schedule()
    Job.objects.all().delete()
    queue.follow_schedule()
    assert claim_one().kind == "tick"


def test_what_is_periodic_no_longer_goes_but_not_from_under_its_worker(settings: Any) -> None:
    settings.JOB_SCHEDULE = {"tick": 30, "note": 30}
    queue.follow_schedule()
    queue.enqueue("note", {"number": 1}, delay=60)
    running = next(job for job in queue.claim("worker-1", 2) if job.kind == "tick")
    settings.JOB_SCHEDULE = {"note": 30}
    queue.follow_schedule()
    assert keys() == ["None", "every:note", "every:tick"]
    with transaction.atomic():
        running.finish()
    assert keys() == ["None", "every:note"]
    settings.JOB_SCHEDULE = {}
    end_leases(state=State.READY, worker="")
    queue.follow_schedule()
    assert keys() == ["None"]


# ---- Two versions at a time -----------------------------------------------------------------------------------------


def test_a_kind_that_this_version_does_not_know_waits_for_one_that_does(settings: Any) -> None:
    ours = settings.JOBS
    settings.JOBS = {**ours, "new": "tests.jobs.handlers.note"}
    queue.enqueue("new")
    settings.JOBS = ours
    queue.enqueue("note")
    assert [job.kind for job in queue.claim("old-worker", 5)] == ["note"]
    Job.objects.filter(kind="note").delete()
    assert queue.next_due() is None
    settings.JOBS = {**ours, "new": "tests.jobs.handlers.note"}
    assert (claim_one().kind, Job.objects.get().attempt) == ("new", 1)


def test_a_periodic_job_of_another_version_is_left_alone(settings: Any) -> None:
    ours = settings.JOBS
    settings.JOBS, settings.JOB_SCHEDULE = {**ours, "new": "tests.jobs.handlers.note"}, {"new": 30}
    queue.follow_schedule()
    settings.JOBS, settings.JOB_SCHEDULE = ours, {"tick": 30}
    queue.follow_schedule()
    assert keys() == ["every:new", "every:tick"]


def test_what_no_version_does_any_more_goes_when_an_operator_cancels_it(settings: Any) -> None:
    queue.enqueue("note")
    settings.JOBS = {}
    assert queue.claim("worker-1", 5) == []
    assert queue.cancel(Job.objects.get().pk)
    assert not Job.objects.exists()
