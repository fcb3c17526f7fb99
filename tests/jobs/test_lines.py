"""Jobs of one kind begin in an order that is fair to those on whose behalf they are done."""

from typing import Any

import pytest
from django.conf import LazySettings
from django.db import IntegrityError, transaction

from bedrock_chat.database.connections import database_now
from bedrock_chat.jobs import lines, queue
from bedrock_chat.jobs.models import Job, State
from bedrock_chat.jobs.queue import Claimed
from tests.jobs.leases import end_leases

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("kinds", "shared")]


@pytest.fixture
def shared(settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.JOB_SHARES = {"tick": 0.25}
    monkeypatch.setattr(lines, "_begun", {})


def ask_for(party: str, count: int = 1, kind: str = "tick", **options: Any) -> None:
    for _ in range(count):
        queue.enqueue(kind, {"party": party}, **options)


class Worker:
    """A worker that has so many places for ticks. `begun` names on whose behalf it has begun them, in order."""

    def __init__(self, name: str = "worker-1", places: int = 2) -> None:
        self.name = name
        self.places = places
        self.running: list[Claimed] = []
        self.begun: list[str] = []

    def look(self) -> None:
        """Begins what may begin, as far as there are places."""
        while jobs := queue.claim(self.name, 8, room={"tick": self.places - len(self.running)}):
            for job in jobs:
                party = job.payload["party"]
                if not lines.stand(job, party, after=job.payload.get("after")):
                    self.running.append(job)
                    self.begun.append(party)

    def end(self, *, goes_on: bool = False) -> None:
        """The job that was begun first ends. One that goes on is asked for again."""
        job = self.running.pop(0)
        with transaction.atomic():
            job.finish()
            if goes_on:
                queue.enqueue("tick", {**job.payload, "after": job.place})

    def work(self, rounds: int, *, goes_on: bool = True) -> str:
        """Does so many jobs one after another, and tells whose were begun by then."""
        self.look()
        for _ in range(rounds):
            self.end(goes_on=goes_on)
            self.look()
        return "".join(party[0] for party in self.begun)


def test_one_job_of_somebody_who_comes_late_is_the_next_to_begin_after_twenty_five_of_another() -> None:
    alice = Worker()
    ask_for("alice", 25)
    assert alice.work(0) == "aa"
    ask_for("bob")
    assert alice.work(1) == "aab"


@pytest.mark.parametrize("goes_on", [False, True])
def test_whoever_comes_while_the_only_place_is_taken_is_next_before_another_job_of_who_has_it(goes_on: bool) -> None:
    worker = Worker(places=1)
    ask_for("alice")
    worker.look()
    ask_for("alice", 3)
    ask_for("bob")
    assert worker.work(1, goes_on=goes_on) == "ab"
    ask_for("carol")
    assert worker.work(1, goes_on=goes_on)[2] in "ac"
    assert "c" in worker.work(1, goes_on=goes_on)


def test_the_order_is_one_for_all_workers() -> None:
    first, second = Worker("worker-1"), Worker("worker-2")
    ask_for("alice", 25)
    first.look()
    second.look()
    ask_for("bob")
    ask_for("carol")
    assert second.work(1, goes_on=False) == "aab"
    assert first.work(1, goes_on=False) == "aac"


def test_who_has_one_long_job_and_who_has_many_get_as_much() -> None:
    worker = Worker(places=1)
    ask_for("alice", 10)
    worker.look()
    ask_for("bob")
    begun = worker.work(20)
    assert abs(begun.count("a") - begun.count("b")) <= 2, begun


def test_a_party_s_own_jobs_begin_in_the_order_in_which_they_were_asked_for() -> None:
    worker = Worker(places=1)
    for number in range(5):
        queue.enqueue("tick", {"party": str(number)})
    order: list[str] = []
    while jobs := queue.claim("worker-1", 8, room={"tick": 1}):
        for job in jobs:
            if not lines.stand(job, "alice"):
                order.append(job.payload["party"])
                with transaction.atomic():
                    job.finish()
    assert order == ["0", "1", "2", "3", "4"]
    assert worker.work(0) == ""


def test_nobody_waits_for_ever_where_newcomers_never_end() -> None:
    worker = Worker(places=1)
    ask_for("alice", 3)
    worker.look()
    for _ in range(12):
        ask_for("bob")
        worker.work(1, goes_on=False)
    assert worker.begun.count("alice") == 3


def test_a_job_begins_at_once_where_none_waits_and_of_a_kind_without_a_share_in_any_case() -> None:
    ask_for("alice")
    [job] = queue.claim("worker-1", 8)
    assert not lines.stand(job, "alice")
    assert Job.objects.get().state == State.RUNNING
    ask_for("alice", 2, kind="note")
    [job] = queue.claim("worker-1", 1, kind="note")
    assert not lines.stand(job, "alice")


def test_what_is_due_later_keeps_nobody_waiting_and_stands_in_line_when_it_is() -> None:
    worker = Worker(places=1)
    ask_for("carol", 3, delay=60)
    ask_for("alice")
    worker.look()
    assert not Job.objects.filter(place__isnull=False).exists()
    ask_for("alice", 3)
    worker.work(1, goes_on=False)  # alice's others stand in line now
    Job.objects.filter(payload={"party": "carol"}).update(due_at=database_now())
    assert worker.work(5, goes_on=False) == "aacacac"


class TestClaims:
    def in_line(self) -> None:
        ask_for("alice", 2)
        for _ in range(2):
            [job] = queue.claim("worker-1", 1)
            assert lines.stand(job, "alice")

    def test_who_stands_in_line_is_due_and_was_never_tried(self) -> None:
        self.in_line()
        assert queue.next_due() is not None
        assert queue.next_due({"tick": 0}) is None
        assert list(Job.objects.order_by("place").values_list("place", "attempt")) == [(0, 0), (1, 0)]
        [job] = queue.claim("worker-2", 1)
        assert (job.place, job.attempt) == (0, 1)
        assert not lines.stand(job, "alice")

    def test_no_message_lets_one_pass_by_the_others(self) -> None:
        self.in_line()
        first, last = Job.objects.order_by("place")
        assert queue.claim("worker-2", 1, pk=last.pk) == []
        assert lines.kind_of(last.pk) == "tick"
        assert [job.pk for job in queue.claim("worker-2", 1, kind="tick")] == [first.pk]
        assert lines.kind_of(first.pk) is None

    def test_a_job_whose_worker_was_lost_begins_before_the_line(self) -> None:
        self.in_line()
        [lost] = queue.claim("worker-2", 1)
        end_leases()
        [again] = queue.claim("worker-3", 1)
        assert (again.pk, again.place, again.attempt) == (lost.pk, 0, 2)
        assert not lines.stand(lost, "alice")

    def test_a_claim_that_was_lost_puts_nothing_in_line(self) -> None:
        ask_for("alice", 2)
        lost, _ = queue.claim("worker-1", 2)
        end_leases()
        queue.claim("worker-2", 2)
        assert not lines.stand(lost, "alice")
        assert not Job.objects.filter(place__isnull=False).exists()

    @pytest.mark.parametrize("how", ["failed", "given back", "postponed", "retried", "asked for"])
    def test_what_waits_otherwise_stands_in_no_line(self, how: str) -> None:
        queue.enqueue("tick", {"party": "alice"}, key="one")
        ask_for("bob")
        for _ in range(2):
            [job] = queue.claim("worker-1", 1)
            assert lines.stand(job, job.payload["party"])
        match how:
            case "retried":
                assert queue.retry(Job.objects.get(key="one").pk)
            case "asked for":
                queue.enqueue_now("tick", {"party": "alice"}, key="one")
            case _:
                [job] = queue.claim("worker-1", 1)
                {"failed": lambda: queue.fail(job, "no"), "given back": lambda: queue.give_back(job)}.get(
                    how, lambda: queue.postpone(job, 60)
                )()
        row = Job.objects.get(key="one")
        assert (row.state, row.place) == (State.READY, None)

    def test_a_place_without_a_party_is_none(self) -> None:
        ask_for("alice")
        with pytest.raises(IntegrityError), transaction.atomic():
            Job.objects.update(place=1)
