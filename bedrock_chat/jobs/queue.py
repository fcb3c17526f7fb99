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
from django.db.models import F
from django.utils.module_loading import import_string

from bedrock_chat.database import compiled_sql
from bedrock_chat.database.connections import database_now
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


@dataclass(slots=True, eq=False)
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

    def lose(self) -> None:
        """Its own worker has claimed the row anew, maybe under the same number: an attempt counts from 1 each time a
        periodic job comes round. No row runs under the number 0.
        """
        self.attempt = 0

    def finish(self) -> None:
        """The job is done, if the transaction around this commits. Raises LeaseLost, which must roll it back."""
        if self.key in schedule():
            due = database_now() + timedelta(seconds=schedule()[self.key])
            mine = compiled_sql.update(Job, self.fence, **_READY_AGAIN, due_at=due)
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
        compiled_sql.insert(job)
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

    A job whose worker let its lease run out is due too. One that was taken too often has failed instead of being given.
    Kinds that the settings do not name belong to another version, whose workers will come for them.
    """
    now = database_now()
    with connection.cursor() as cursor:
        until, due = map(connection.ops.adapt_datetimefield_value, (now + lease(), now))
        kinds = list(settings.JOBS) if connection.vendor == "postgresql" else orjson.dumps(list(settings.JOBS)).decode()
        cursor.execute(_claim_sql(connection.vendor), [worker, until, due, kinds, limit])
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


def fail(job: Claimed, reason: str) -> None:
    """The attempt came to nothing: again after a while, twice as long each time, or dead with the reason.

    A periodic job never dies: when its attempts are spent, it begins anew with its next turn.
    """
    reason = " ".join(reason.split())[:LONGEST_REASON] or "It failed without a word."
    wait, attempt = backoff(job.attempt), job.attempt
    if attempt >= MOST_ATTEMPTS:
        every = schedule().get(job.key)
        if every is None:
            compiled_sql.update(Job, job.fence, state=State.DEAD, worker="", reason=reason)
            return
        wait, attempt = max(wait, every), 0
    due = database_now() + timedelta(seconds=wait)
    compiled_sql.update(Job, job.fence, state=State.READY, worker="", reason=reason, due_at=due, attempt=attempt)


def give_back(job: Claimed) -> None:
    """The worker ends before the job does: others may take it at once, and what it still writes is refused."""
    now = database_now()
    compiled_sql.update(Job, job.fence, state=State.READY, worker="", due_at=now, attempt=max(0, job.attempt - 1))


def backoff(attempt: int) -> float:
    """Seconds before the next attempt, with jitter, so that what failed together does not come back together."""
    longest = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** min(attempt - 1, 20))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311  jitter


def lease() -> timedelta:
    return timedelta(seconds=settings.JOB_LEASE_SECONDS)


def next_due() -> datetime | None:
    """When the next job that can be done here falls due, or its lease ends. Takes no lock."""
    waiting = Job.objects.filter(kind__in=list(settings.JOBS)).exclude(state=State.DEAD)
    return waiting.order_by("due_at").values_list("due_at", flat=True).first()


# ---- Operators ------------------------------------------------------------------------------------------------------


def retry(job: int) -> bool:
    """Lets a dead or waiting job begin now, as if it had never failed; False where it runs or is gone."""
    with transaction.atomic():
        waiting = Job.objects.filter(pk=job).exclude(state=State.RUNNING)
        changed = waiting.update(state=State.READY, attempt=0, due_at=database_now())
        wake()
    return bool(changed)


def cancel(job: int) -> bool:
    """Takes a job away, also from the worker that runs it: what that writes is rolled back. False where it is gone.

    Of a periodic job it takes this run, and the next one comes with the schedule.
    """
    row = Job.objects.filter(pk=job)
    every = schedule().get(row.values_list("key", flat=True).first())
    if every is None:
        return bool(row.delete()[0])
    due = database_now() + timedelta(seconds=every)
    # The number goes on while it can: whoever still runs this attempt must not share one with the next.
    return bool(row.update(state=State.READY, worker="", due_at=due, attempt=F("attempt") % MOST_ATTEMPTS))


# ---- The schedule ---------------------------------------------------------------------------------------------------


def schedule() -> dict[str | None, float]:
    """Key of a periodic job → seconds between its runs."""
    return {f"every:{kind}": seconds for kind, seconds in settings.JOB_SCHEDULE.items()}


def follow_schedule() -> None:
    """Makes the periodic jobs that are missing, revives dead ones, and removes those that are periodic no longer.

    Those of kinds that the settings do not name stay: while versions change, they are another one's.
    """
    now = database_now()
    scheduled = {f"every:{kind}": kind for kind in settings.JOB_SCHEDULE}
    there = {row.key: row for row in Job.objects.filter(key__startswith="every:")}
    missing = [Job(kind=scheduled[key], key=key, due_at=now, created_at=now) for key in scheduled.keys() - there.keys()]
    dead = [key for key, row in there.items() if key in scheduled and row.state == State.DEAD]
    over = [key for key, row in there.items() if key not in scheduled and row.kind in settings.JOBS]
    # Mostly there is nothing to change, and then nothing is: on SQLite every change waits for the one writer's lock.
    if missing:
        Job.objects.bulk_create(missing, ignore_conflicts=True)
    if dead:
        Job.objects.filter(key__in=dead, state=State.DEAD).update(state=State.READY, attempt=0, due_at=now)
    if over:  # one that runs just now leaves when it is done
        Job.objects.filter(key__in=over).exclude(state=State.RUNNING).delete()


# ---- SQL ------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def _claim_sql(vendor: str) -> str:
    table = connection.ops.quote_name(Job._meta.db_table)
    # An array, so that PostgreSQL takes the limited rows once, whatever it plans.
    chosen, known, locked = (
        ("= ANY(ARRAY({}))", "= ANY(%s)", " FOR UPDATE SKIP LOCKED")
        if vendor == "postgresql"
        else ("IN ({})", "IN (SELECT value FROM json_each(%s))", "")
    )
    due = (
        f"SELECT id FROM {table} WHERE due_at <= %s AND NOT state = 'dead' AND kind {known} "  # noqa: S608
        f"ORDER BY due_at LIMIT %s{locked}"
    )
    return (
        f"UPDATE {table} SET state = 'running', worker = %s, attempt = attempt + 1, due_at = %s "  # noqa: S608
        f"WHERE id {chosen.format(due)} RETURNING id, kind, payload, key, attempt"
    )
