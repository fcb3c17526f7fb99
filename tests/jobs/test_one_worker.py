"""What one worker does when it has no free thread, when its own leases run out, and when the database is away."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, transaction
from django.utils import timezone

from bedrock_chat.database.connections import release_connection
from bedrock_chat.jobs import queue, waking
from bedrock_chat.jobs import worker as worker_module
from bedrock_chat.jobs.models import Job, State
from bedrock_chat.jobs.queue import Claimed, LeaseLost
from bedrock_chat.jobs.worker import LOOK_SECONDS, JobRunner

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True)]


class Workbench:
    """A handler whose jobs end when the test says so."""

    def __init__(self) -> None:
        self.begun: list[Claimed] = []
        self.ended: list[Claimed] = []
        self.refused: list[Claimed] = []
        self._ends: dict[int, threading.Event] = {}

    def do(self, job: Claimed) -> None:
        self._ends[id(job)] = threading.Event()
        self.begun.append(job)
        self._ends[id(job)].wait(30)
        try:
            with transaction.atomic():
                job.finish()
        except LeaseLost:
            self.refused.append(job)
            raise
        finally:
            self.ended.append(job)

    def end(self, job: Claimed) -> None:
        self._ends[id(job)].set()
        until(lambda: job in self.ended)

    def end_all(self) -> None:
        for event in list(self._ends.values()):
            event.set()


def until(condition: Callable[[], object], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def end_leases() -> None:
    """Ends every lease, as if all workers had stood still for longer than that."""
    Job.objects.update(due_at=timezone.now() - timedelta(seconds=1))


@pytest.fixture
def bench(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workbench]:
    bench = Workbench()
    monkeypatch.setattr(waking, "start", lambda wake: None)  # its thread would outlive the test
    settings.JOBS, settings.JOB_SCHEDULE = {"wait": "tests.jobs.handlers.tick"}, {}
    monkeypatch.setattr(queue, "handler_of", lambda kind: bench.do)
    yield bench
    bench.end_all()


@pytest.fixture
def hired(bench: Workbench) -> Iterator[Callable[[int], JobRunner]]:
    """Workers whose jobs have all ended before the test does."""
    workers: list[JobRunner] = []

    def hire(concurrency: int) -> JobRunner:
        workers.append(JobRunner(concurrency))
        return workers[-1]

    yield hire
    bench.end_all()
    for worker in workers:
        until(lambda worker=worker: not len(worker._claims))
        worker._threads.stop()
        until(lambda worker=worker: worker._threads.count == 0)


def test_a_worker_without_a_free_slot_asks_the_database_nothing(
    bench: Workbench, hired: Callable[[int], JobRunner], django_assert_num_queries: Any
) -> None:
    for _ in range(2):
        queue.enqueue("wait")
    worker = hired(1)
    assert worker._take() == 0
    with django_assert_num_queries(0):
        assert worker._take() == LOOK_SECONDS


@contextmanager
def at_work(worker: JobRunner, bench: Workbench) -> Iterator[None]:
    def work() -> None:
        try:
            worker.run(lambda: None)
        finally:
            release_connection(final=True)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        worker.stop()
        bench.end_all()
        thread.join(10)


def test_a_worker_with_a_backlog_sleeps_until_a_job_ends_and_then_begins_the_next_at_once(
    bench: Workbench, hired: Callable[[int], JobRunner], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []
    take = JobRunner._take
    monkeypatch.setattr(JobRunner, "_take", lambda worker: (looks.append(time.monotonic()), take(worker))[1])
    for _ in range(3):
        queue.enqueue("wait")
    with at_work(hired(1), bench):
        until(lambda: bench.begun)
        time.sleep(0.2)
        before = len(looks)
        time.sleep(1)
        assert len(looks) - before < 20
        ended = time.monotonic()
        bench.end(bench.begun[0])
        until(lambda: len(bench.begun) == 2)
        assert time.monotonic() - ended < LOOK_SECONDS / 2


def test_a_worker_brings_back_a_periodic_job_that_is_gone(
    bench: Workbench, hired: Callable[[int], JobRunner], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.JOB_SCHEDULE = {"wait": 30}
    monkeypatch.setattr(worker_module, "SCHEDULE_SECONDS", 0.1)
    with at_work(hired(2), bench):
        until(lambda: bench.begun)
        Job.objects.all().delete()
        until(lambda: len(bench.begun) == 2)


def test_a_worker_that_claims_its_own_lost_job_keeps_the_new_lease_and_refuses_the_old_attempt(
    bench: Workbench, hired: Callable[[int], JobRunner]
) -> None:
    queue.enqueue("wait")
    worker = hired(2)
    worker._take()
    until(lambda: bench.begun)
    end_leases()
    worker._take()
    until(lambda: len(bench.begun) == 2)
    old, new = bench.begun
    bench.end(old)
    until(lambda: worker._claims.all() == [new])
    Job.objects.update(due_at=timezone.now() + timedelta(seconds=1))
    worker._claims.renew()
    assert (Job.objects.get().due_at - timezone.now()).total_seconds() > 5
    bench.end(new)
    assert bench.refused == [old]
    assert not Job.objects.exists()


def test_a_periodic_job_that_came_round_meanwhile_is_refused_to_the_attempt_of_the_same_number(
    bench: Workbench, hired: Callable[[int], JobRunner], settings: Any
) -> None:
    settings.JOB_SCHEDULE = {"wait": 2}
    queue.follow_schedule()
    worker = hired(2)
    worker._take()
    until(lambda: bench.begun)
    end_leases()
    (other,) = queue.claim("another worker", 1)
    with transaction.atomic():
        other.finish()
    end_leases()
    worker._take()
    until(lambda: len(bench.begun) == 2)
    old, new = bench.begun
    assert new.attempt == 1
    bench.end(old)
    assert bench.refused == [old]
    assert Job.objects.get().state == State.RUNNING
    bench.end(new)
    assert bench.refused == [old]
    assert Job.objects.get().state == State.READY


def test_a_worker_whose_claim_fails_pauses_before_it_asks_again(
    bench: Workbench, hired: Callable[[int], JobRunner], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> None:
        raise OperationalError("disk I/O error")

    queue.enqueue("wait")
    monkeypatch.setattr(queue, "claim", away)
    assert hired(1)._take() == LOOK_SECONDS


def test_a_worker_full_of_long_jobs_of_a_bounded_kind_begins_others_and_tells_all_of_them_when_it_ends(
    bench: Workbench, hired: Callable[[int], JobRunner], settings: Any
) -> None:
    settings.JOBS = {**settings.JOBS, "sync": "tests.jobs.handlers.tick"}
    settings.JOB_SHARES = {"sync": 0.25}
    for _ in range(20):
        queue.enqueue("sync")
    worker = hired(8)
    with at_work(worker, bench):
        until(lambda: len(bench.begun) == 2)
        queue.enqueue("wait")
        until(lambda: len(bench.begun) == 3)
        assert [job.kind for job in bench.begun] == ["sync", "sync", "wait"]
        worker.stop()
        until(lambda: all(job.ending.requested for job in bench.begun))
