"""Workers of the queue's tests: one that takes a job, and those that fail or fall silent."""

from datetime import timedelta
from typing import Any

from django.utils import timezone

from bedrock_chat.jobs import queue
from bedrock_chat.jobs.models import Job
from bedrock_chat.jobs.queue import Claimed


def end_leases(**columns: Any) -> None:
    """Ends every lease, as if the worker of every job had been silent for a minute."""
    Job.objects.update(due_at=timezone.now() - timedelta(minutes=1), **columns)


def claim_one() -> Claimed:
    (job,) = queue.claim("worker-1", 1)
    return job


def fail_as_often_as_allowed(reason: str = "the model was away") -> None:
    for _ in range(queue.MOST_ATTEMPTS):
        end_leases()
        queue.fail(claim_one(), reason)


def lose_its_worker_as_often_as_allowed() -> None:
    for _ in range(queue.MOST_ATTEMPTS):
        claim_one()
        end_leases()
