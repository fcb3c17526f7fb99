"""The queue: one function per change of a job's row. Leases go by the clock that all processes share."""

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import orjson
from django.conf import settings
from django.db import connection, transaction
from django.utils.module_loading import import_string

from bedrock_chat import statements
from bedrock_chat.database import database_now
from bedrock_chat.jobs.models import Job, State

CHANNEL = "bedrock_chat_jobs"
MOST_ATTEMPTS = 8
FIRST_BACKOFF = 2.0
LONGEST_BACKOFF = 3600.0
LONGEST_REASON = 500


class LeaseLost(Exception):
    """Somebody else owns the job by now, or an operator took it away: nothing of this attempt may be kept."""


class UnknownKind(LookupError):
    """The setting JOBS names nobody who does such jobs."""


@dataclass(slots=True)
class Claimed:
    """A job that this worker runs. Whoever does it writes its result and calls `finish` in one transaction."""

    pk: int
    kind: str
    payload: dict[str, Any]
    key: str | None
    attempt: int
    worker: str
    finished: bool = field(default=False)

    @property
    def fence(self) -> dict[str, Any]:
        return {"pk": self.pk, "attempt": self.attempt, "worker": self.worker, "state": State.RUNNING}

    def finish(self) -> None:
        """The job is done, if the transaction around this commits. Raises LeaseLost, which must roll it back."""
        if self.key in schedule():
            due = database_now() + timedelta(seconds=schedule()[self.key])
            mine = statements.update(Job, self.fence, **_READY_AGAIN, due_at=due)
        else:
            mine = Job.objects.filter(**self.fence).delete()[0]
        if not mine:
            raise LeaseLost
        self.finished = True

    def check(self) -> None:
        """Before something that cannot be rolled back: raises LeaseLost where the job is somebody else's by now."""
        if not Job.objects.filter(**self.fence, due_at__gt=database_now()).exists():
            raise LeaseLost


_READY_AGAIN: dict[str, Any] = {"state": State.READY, "worker": "", "attempt": 0, "reason": ""}


# ---- Asking ---------------------------------------------------------------------------------------------------------


def enqueue(kind: str, payload: Mapping[str, Any] | None = None, *, delay: float = 0.0, key: str | None = None) -> None:
    """Asks for a job, in the transaction that makes it necessary: it is there if and only if that commits.

    `delay` in seconds. With a `key` there is at most one such job at a time; asking again changes nothing. Raises
    UnknownKind.
    """
    if kind not in settings.JOBS:
        raise UnknownKind(kind)
    now = database_now()
    job = Job(kind=kind, payload=dict(payload or {}), key=key, due_at=now + timedelta(seconds=delay), created_at=now)
    if key is None:
        statements.insert(job)
    else:
        Job.objects.bulk_create([job], ignore_conflicts=True)
    if not delay:
        wake()


def wake() -> None:
    """Tells workers that there is something to do, once the transaction commits. SQLite's see the commit itself."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, '')", [CHANNEL])


def handler_of(kind: str) -> Any:
    """Who does such jobs. Raises UnknownKind."""
    try:
        return import_string(settings.JOBS[kind])
    except KeyError:
        raise UnknownKind(kind) from None


# ---- Doing ----------------------------------------------------------------------------------------------------------


def claim(worker: str, limit: int) -> list[Claimed]:
    """Takes up to `limit` jobs that are due, the longest due first, in one statement.

    A job whose worker let its lease run out is due too. One that was taken too often is buried instead of given.
    """
    now = database_now()
    with connection.cursor() as cursor:
        until, due = map(connection.ops.adapt_datetimefield_value, (now + lease(), now))
        cursor.execute(_claim_sql(connection.vendor), [worker, until, due, limit])
        rows = cursor.fetchall()
    claimed = [
        Claimed(pk, kind, orjson.loads(payload), key, attempt, worker) for pk, kind, payload, key, attempt in rows
    ]
    for job in claimed:
        if job.attempt > MOST_ATTEMPTS:
            fail(job, f"Its worker was lost {MOST_ATTEMPTS} times.")
    return [job for job in claimed if job.attempt <= MOST_ATTEMPTS]


def renew(worker: str, running: Iterable[Claimed]) -> None:
    """Prolongs the leases of the jobs that a worker still runs; one that has run out is not revived."""
    keys = [job.pk for job in running]
    if keys:
        now = database_now()
        mine = Job.objects.filter(pk__in=keys, worker=worker, state=State.RUNNING, due_at__gt=now)
        mine.update(due_at=now + lease())


def fail(job: Claimed, reason: str, *, for_good: bool = False) -> None:
    """The attempt came to nothing: again after a while, twice as long each time, or dead with the reason."""
    reason = " ".join(reason.split())[:LONGEST_REASON] or "It failed without a word."
    if for_good or (job.attempt >= MOST_ATTEMPTS and job.key not in schedule()):
        statements.update(Job, job.fence, state=State.DEAD, worker="", reason=reason)
    else:
        due = database_now() + timedelta(seconds=backoff(job.attempt))
        statements.update(Job, job.fence, state=State.READY, worker="", reason=reason, due_at=due)


def give_back(job: Claimed) -> None:
    """The worker ends before the job does: others may take it at once, and what it still writes is refused."""
    now = database_now()
    statements.update(Job, job.fence, state=State.READY, worker="", due_at=now, attempt=max(0, job.attempt - 1))


def backoff(attempt: int) -> float:
    """Seconds before the next attempt, with jitter, so that what failed together does not come back together."""
    longest = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** min(attempt - 1, 20))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311  jitter


def lease() -> timedelta:
    return timedelta(seconds=settings.JOB_LEASE_SECONDS)


def next_due() -> datetime | None:
    """When the next job falls due, or the next lease ends. Takes no lock."""
    return Job.objects.exclude(state=State.DEAD).order_by("due_at").values_list("due_at", flat=True).first()


# ---- Operators ------------------------------------------------------------------------------------------------------


def retry(job: int) -> bool:
    """Lets a dead or waiting job begin now, as if it had never failed; False where it runs or is gone."""
    with transaction.atomic():
        waiting = Job.objects.filter(pk=job).exclude(state=State.RUNNING)
        changed = waiting.update(state=State.READY, attempt=0, due_at=database_now())
        wake()
    return bool(changed)


def cancel(job: int) -> bool:
    """Takes a job away, also from the worker that runs it: what that writes is rolled back. False where it is gone."""
    return bool(Job.objects.filter(pk=job).delete()[0])


# ---- The schedule ---------------------------------------------------------------------------------------------------


def schedule() -> dict[str | None, float]:
    """Key of a periodic job → seconds between its runs."""
    return {f"every:{kind}": seconds for kind, seconds in settings.JOB_SCHEDULE.items()}


def follow_schedule() -> None:
    """Makes the periodic jobs that are not there yet, and removes those the settings no longer name."""
    now = database_now()
    jobs = [Job(kind=kind, key=f"every:{kind}", due_at=now, created_at=now) for kind in settings.JOB_SCHEDULE]
    Job.objects.bulk_create(jobs, ignore_conflicts=True)
    Job.objects.filter(key__startswith="every:").exclude(key__in=[job.key for job in jobs]).delete()


# ---- SQL ------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def _claim_sql(vendor: str) -> str:
    table = connection.ops.quote_name(Job._meta.db_table)
    # An array, so that PostgreSQL takes the limited rows once, whatever it plans.
    chosen, locked = ("= ANY(ARRAY({}))", " FOR UPDATE SKIP LOCKED") if vendor == "postgresql" else ("IN ({})", "")
    due = f"SELECT id FROM {table} WHERE due_at <= %s AND NOT state = 'dead' ORDER BY due_at LIMIT %s{locked}"  # noqa: S608
    return (
        f"UPDATE {table} SET state = 'running', worker = %s, attempt = attempt + 1, due_at = %s "  # noqa: S608
        f"WHERE id {chosen.format(due)} RETURNING id, kind, payload, key, attempt"
    )
