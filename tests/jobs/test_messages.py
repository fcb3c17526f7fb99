"""Which messages are sent of jobs where Celery delivers, and when."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from bedrock_chat.database import waiting
from bedrock_chat.jobs import broker, queue, sweep
from bedrock_chat.jobs.models import Job, State
from tests.jobs.leases import claim_one, end_leases, fail_as_often_as_allowed

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("kinds")]
Messages = list[tuple[str, int]]
IDLE = {"sqlite": 3, "postgresql": 4}  # the clock; two looks for jobs, and one for the next


@pytest.fixture
def sent(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Messages:
    """What a server with a broker would send, by kind and id."""
    settings.CELERY_BROKER_URL = "redis://127.0.0.1:9/0"
    messages: Messages = []
    monkeypatch.setattr(waiting, "_seconds", 10.0)  # as in a server
    monkeypatch.setattr(broker, "send", lambda kind, pk: messages.append((kind, pk)))
    monkeypatch.setattr(broker, "send_patiently", lambda kind, pk: messages.append((kind, pk)))
    monkeypatch.setattr(broker, "unread", lambda kind: 0)
    return messages


def swept(messages: Messages) -> list[int]:
    """The ids of the jobs that two sweeps send of."""
    messages.clear()
    sweep.sweep()
    sweep.sweep()
    return [pk for _, pk in messages]


class TestAdding:
    def test_a_message_is_sent_when_the_transaction_has_committed(self, sent: Messages) -> None:
        with transaction.atomic():
            queue.enqueue("note")
            assert sent == []
        job = Job.objects.get()
        assert sent == [("note", job.pk)]
        assert job.sent_at is not None
        assert swept(sent) == []

    def test_a_transaction_that_is_rolled_back_sends_nothing(self, sent: Messages) -> None:
        with transaction.atomic():
            queue.enqueue("note")
            transaction.set_rollback(True)
        assert sent == []

    def test_of_a_job_that_is_there_already_nothing_is_sent(self, sent: Messages) -> None:
        for _ in range(2):
            queue.enqueue("note", key="one")
        assert len(sent) == 1

    def test_a_job_that_begins_later_is_sent_by_the_sweep_when_it_is_due(self, sent: Messages) -> None:
        queue.enqueue("note", delay=0.5)
        assert sent == []
        assert 0.3 < sweep.sweep() <= 0.5
        assert sent == []
        Job.objects.update(due_at=timezone.now())
        assert swept(sent) == [Job.objects.get().pk]

    def test_what_a_command_adds_or_is_added_while_the_broker_is_away_is_sent_by_the_next_sweep(
        self, sent: Messages, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(broker, "takes_messages", lambda: False)
        queue.enqueue("note")
        assert swept(sent) == []
        monkeypatch.setattr(broker, "takes_messages", lambda: True)
        assert swept(sent) == [Job.objects.get().pk]

    def test_without_a_broker_nothing_is_sent(self, sent: Messages, settings: Any) -> None:
        settings.CELERY_BROKER_URL = ""
        queue.enqueue("note")
        assert swept(sent) == []
        assert Job.objects.get().sent_at is None


class TestSweeping:
    def test_a_job_that_is_asked_for_again_is_sent_again(self, sent: Messages) -> None:
        queue.enqueue("note", key="one")
        queue.enqueue_now("note", {}, key="one")
        assert swept(sent) == [Job.objects.get().pk]

    def test_a_job_whose_worker_was_lost_is_sent_again_and_one_that_runs_is_not(self, sent: Messages) -> None:
        queue.enqueue("note")
        job = claim_one()
        assert swept(sent) == []
        Job.objects.update(due_at=timezone.now(), sent_at=timezone.now() - timedelta(seconds=1))
        assert swept(sent) == [job.pk]

    def test_a_job_that_failed_is_sent_when_it_may_be_tried_again(self, sent: Messages) -> None:
        queue.enqueue("note")
        queue.fail(claim_one(), "the model was away")
        assert swept(sent) == []
        Job.objects.update(due_at=timezone.now())
        assert swept(sent) == [Job.objects.get().pk]

    def test_a_message_that_nobody_heeds_is_sent_again_after_the_length_of_a_lease(self, sent: Messages) -> None:
        queue.enqueue("note")
        past = timezone.now() - queue.lease()
        Job.objects.update(due_at=past, sent_at=past + timedelta(seconds=2))
        assert swept(sent) == []
        Job.objects.update(due_at=past - timedelta(seconds=2), sent_at=past - timedelta(seconds=1))
        assert swept(sent) == [Job.objects.get().pk]

    def test_a_clock_that_was_set_back_keeps_no_job_from_its_message(self, sent: Messages) -> None:
        queue.enqueue("note")
        Job.objects.update(sent_at=timezone.now() + timedelta(hours=1))
        assert swept(sent) == [Job.objects.get().pk]

    def test_while_many_messages_wait_none_of_them_counts_as_lost(
        self, sent: Messages, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for _ in range(3):
            queue.enqueue("note")
        past = timezone.now() - 2 * queue.lease()
        Job.objects.update(due_at=past, sent_at=past)
        monkeypatch.setattr(broker, "unread", lambda kind: sweep.SHORT_QUEUE)
        assert swept(sent) == []
        queue.enqueue("tick", delay=1)
        Job.objects.filter(kind="tick").update(due_at=timezone.now())
        assert swept(sent) == [Job.objects.get(kind="tick").pk]  # no message of it was ever sent
        monkeypatch.setattr(broker, "unread", lambda kind: sweep.SHORT_QUEUE - 2)
        messages = swept(sent)
        assert len(messages) == len(set(messages)) == 3

    def test_nothing_is_sent_of_the_dead_and_of_what_this_version_does_not_know(
        self, sent: Messages, settings: Any
    ) -> None:
        queue.enqueue("note")
        fail_as_often_as_allowed()
        queue.enqueue("tick")
        Job.objects.update(sent_at=None)
        settings.JOBS = {"note": settings.JOBS["note"]}
        assert Job.objects.filter(state=State.DEAD).exists()
        assert swept(sent) == []

    def test_more_than_can_be_sent_at_once_are_sent_one_after_the_other(
        self, sent: Messages, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sweep, "MOST_AT_ONCE", 2)
        for _ in range(3):
            queue.enqueue("note")
        Job.objects.update(sent_at=None)
        assert swept(sent) == list(Job.objects.order_by("due_at").values_list("pk", flat=True))

    def test_an_idle_sweep_writes_nothing(self, sent: Messages, django_assert_num_queries: Any) -> None:
        queue.enqueue("note", delay=60)
        queue.enqueue("note")
        with django_assert_num_queries(IDLE[connection.vendor]):
            sweep.sweep()


class TestClaiming:
    def test_the_job_of_a_message_is_claimed_once_and_no_other(self) -> None:
        for _ in range(2):
            queue.enqueue("note")
        first, second = Job.objects.order_by("pk")
        (claimed,) = queue.claim("worker-1", 1, pk=second.pk)
        assert claimed.pk == second.pk
        assert queue.claim("worker-2", 1, pk=second.pk) == []
        assert queue.claim("worker-2", 1, pk=second.pk + 100) == []
        first.refresh_from_db()
        assert first.state == State.READY

    def test_a_message_that_comes_too_early_begins_nothing(self) -> None:
        queue.enqueue("note", delay=60)
        assert queue.claim("worker-1", 1, pk=Job.objects.get().pk) == []

    def test_whoever_cannot_begin_a_job_has_it_sent_to_another(self, sent: Messages) -> None:
        queue.enqueue("note")
        sweep.put_back(Job.objects.get().pk)
        assert swept(sent) == [Job.objects.get().pk]
        claim_one()
        before = Job.objects.get().sent_at
        sweep.put_back(Job.objects.get().pk)
        assert Job.objects.get().sent_at == before  # it runs already
        end_leases()
