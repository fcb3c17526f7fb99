"""Jobs of a kind that may take a part of a worker's places, and what a handler learns of its claim and its worker."""

import threading
from collections import Counter
from typing import Any

import pytest
from django.db import connection, transaction

from bedrock_chat.database.connections import release_connection
from bedrock_chat.jobs import queue
from bedrock_chat.jobs.claims import Claims
from bedrock_chat.jobs.models import Job
from bedrock_chat.jobs.queue import Claimed, LeaseLost
from tests.jobs.leases import claim_one, end_leases

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("kinds")]
BOUNDS = {"tick": 2}


def ask_for(kind: str, count: int) -> None:
    for number in range(count):
        queue.enqueue(kind, {"number": number})


def take(claims: Claims, free: int) -> list[Claimed]:
    """What a worker with so many free places begins at one look."""
    jobs = queue.claim(claims.worker, free, room=claims.room(BOUNDS))
    for job in jobs:
        claims.add(job)
    return jobs


def kinds_of(jobs: list[Claimed]) -> Counter[str]:
    return Counter(job.kind for job in jobs)


def test_behind_twenty_long_jobs_of_a_bounded_kind_another_job_is_begun_at_once() -> None:
    ask_for("tick", 20)
    ask_for("note", 1)
    claims = Claims("worker-1")
    assert kinds_of(take(claims, 8)) == {"tick": 2, "note": 1}
    assert take(claims, 5) == []


def test_the_longest_due_of_a_bounded_kind_are_taken_and_the_others_stay_as_they_were() -> None:
    ask_for("tick", 4)
    ask_for("note", 3)
    jobs = take(Claims("worker-1"), 8)
    assert [job.payload["number"] for job in jobs if job.kind == "tick"] == [0, 1]
    assert kinds_of(jobs) == {"tick": 2, "note": 3}
    assert list(Job.objects.filter(state="ready").values_list("attempt", "worker")) == [(0, "")] * 2


def test_a_worker_whose_share_is_taken_does_not_look_for_such_jobs_until_one_has_ended() -> None:
    ask_for("tick", 3)
    claims = Claims("worker-1")
    first, _ = take(claims, 8)
    assert queue.next_due(claims.room(BOUNDS)) is None
    with transaction.atomic():
        first.finish()
    claims.remove(first)
    assert queue.next_due(claims.room(BOUNDS)) is not None
    assert len(take(claims, 7)) == 1


def test_each_worker_has_a_share_of_its_own() -> None:
    ask_for("tick", 5)
    assert len(take(Claims("worker-1"), 8)) == len(take(Claims("worker-2"), 8)) == 2


def test_a_message_begins_no_job_of_a_kind_whose_share_is_taken() -> None:
    ask_for("tick", 3)
    claims = Claims("worker-1")
    take(claims, 8)
    waiting = Job.objects.get(state="ready")
    assert queue.claim("worker-1", 1, pk=waiting.pk, room=claims.room(BOUNDS)) == []
    assert [job.pk for job in queue.claim("worker-2", 1, kind="tick", room={"tick": 1})] == [waiting.pk]


class TestHolding:
    def test_a_transaction_of_a_job_that_somebody_took_over_is_rolled_back_before_it_writes(self) -> None:
        queue.enqueue("note")
        job = claim_one()
        with transaction.atomic():
            job.hold()
        end_leases()
        with transaction.atomic():
            job.hold()  # nobody else has taken it
        queue.claim("worker-2", 1)
        with pytest.raises(LeaseLost), transaction.atomic():
            job.hold()

    def test_a_cancelled_job_cannot_be_held(self) -> None:
        queue.enqueue("note")
        job = claim_one()
        queue.cancel(job.pk)
        with pytest.raises(LeaseLost), transaction.atomic():
            job.hold()

    def test_nobody_takes_a_job_over_while_it_is_held(self) -> None:
        if connection.vendor == "sqlite":
            pytest.skip("On SQLite the transaction keeps all writers out.")
        queue.enqueue("note")
        job = claim_one()
        end_leases()
        taken: list[Any] = []

        def look() -> None:
            taken.append(queue.claim("worker-2", 1))
            release_connection(final=True)

        with transaction.atomic():
            job.hold()
            thread = threading.Thread(target=look)
            thread.start()
            thread.join(10)
        assert taken == [[]]


def test_the_jobs_of_a_worker_that_ends_are_told_and_so_is_one_that_it_claims_at_that_moment() -> None:
    ask_for("note", 2)
    claims = Claims("worker-1")
    first, second = queue.claim("worker-1", 2)
    claims.add(first)
    ended: list[str] = []
    first.ending.add(lambda: ended.append("the call of the first"))
    assert not first.ending.requested
    claims.end()
    assert ended == ["the call of the first"]
    claims.add(second)
    assert second.ending.requested
