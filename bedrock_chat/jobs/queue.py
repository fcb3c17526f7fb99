"""The queue: one function per change of a job's row. Leases are measured by the clock that all processes share."""

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import orjson
from django.conf import settings
from django.db import connection, transaction
from django.db.models import F
from django.utils.module_loading import import_string

from bedrock_chat.database import compiled_sql
from bedrock_chat.database.compiled_sql import NOW, Batch
from bedrock_chat.database.connections import database_now
from bedrock_chat.database.instances import new_row
from bedrock_chat.jobs import beginning, broker
from bedrock_chat.jobs.models import Job, State
from bedrock_chat.process.interruption import Interruption

CHANNEL = "bedrock_chat_jobs"
MOST_ATTEMPTS = 8
FIRST_BACKOFF = 2.0
LONGEST_BACKOFF = 3600.0
LONGEST_REASON = 500


class LeaseLost(Exception):
    """Another worker owns the job by now, or an operator cancelled it: nothing of this attempt may be kept."""


class UnknownKind(LookupError):
    """The setting JOBS names no handler for such jobs."""


@dataclass(slots=True, eq=False)
class Claimed:
    """A job that this worker runs. Its handler writes the result and calls `finish` in one transaction.

    A handler that writes in several transactions calls `hold` first in each. `ending` is turned on when the worker has
    been told to stop: a handler that can go on later keeps what it has and returns.
    """

    pk: int
    kind: str
    payload: dict[str, Any]
    key: str | None
    attempt: int
    worker: str
    finished: bool = field(default=False)
    ending: Interruption = field(default_factory=Interruption, repr=False)
    place: int | None = None
    """Its place in the line of its kind, if it was claimed from there (`jobs.lines`)."""

    @property
    def fence(self) -> dict[str, Any]:
        """The columns of the job's row, for as long as this claim holds."""
        return {"pk": self.pk, "attempt": self.attempt, "worker": self.worker, "state": State.RUNNING}

    def lose(self) -> None:
        """Give up this claim, because the same worker has claimed the row again. Both may have the same number, since
        every run of a periodic job counts its attempts from 1. No row runs under the number 0.
        """
        self.attempt = 0

    def finish(self) -> None:
        """The job is done if the transaction around this commits. Raises LeaseLost, which must roll it back."""
        if self.key in schedule():
            due = database_now() + timedelta(seconds=schedule()[self.key])
            count = compiled_sql.update(Job, self.fence, **_READY_AGAIN, due_at=due)
        else:
            count = Job.objects.filter(**self.fence).delete()[0]
        if not count:
            raise LeaseLost
        self.finished = True

    def hold(self) -> None:
        """The first statement of a transaction that writes for this job. Raises LeaseLost if the claim holds no longer.

        On PostgreSQL it locks the job's row, so that nobody claims or cancels the job before the transaction ends. On
        SQLite the transaction itself keeps all other writers out.
        """
        if not compiled_sql.select(Job, ("attempt",), self.fence, lock=True):
            raise LeaseLost

    def check(self) -> None:
        """Call this before something that cannot be rolled back. Raises LeaseLost if this claim no longer holds."""
        if not Job.objects.filter(**self.fence, due_at__gt=database_now()).exists():
            raise LeaseLost


_IDLE: dict[str, Any] = {"worker": "", "place": None, "party": None}
_READY: dict[str, Any] = {"state": State.READY, **_IDLE}
_READY_AGAIN: dict[str, Any] = {**_READY, "attempt": 0, "reason": ""}


# ---- Adding jobs ----------------------------------------------------------------------------------------------------


def enqueue(
    kind: str,
    payload: Mapping[str, Any] | None = None,
    *,
    delay: float = 0.0,
    key: str | None = None,
    claimed_by: str = "",
) -> None:
    """Adds a job, in the transaction that makes it necessary: the job exists if and only if that commits.

    `delay` is in seconds. With a `key` there is at most one such job at a time, and adding it again changes nothing.
    With `claimed_by`, the job is that worker's from the beginning (`claims_of`): it has a lease, so that another one
    takes the job if that worker does not. Where Celery delivers, a message is sent once the transaction has committed.
    Raises UnknownKind.
    """
    if kind not in settings.JOBS:
        raise UnknownKind(kind)
    job = new_row(Job, kind=kind, payload=dict(payload or {}), key=key)
    wait = timedelta(seconds=delay)
    if claimed_by:
        job.state, job.worker, job.attempt, wait = State.RUNNING, claimed_by, 1, lease()
    unique = () if key is None else ("key",)
    with Batch() as batch:
        if wait:
            now = database_now()
            batch.insert_unless_taken(job, unique, due_at=now + wait, created_at=now)
            return
        sent = {"sent_at": NOW} if broker.takes_messages() else {}
        inserted = batch.insert_unless_taken(job, unique, due_at=NOW, created_at=NOW, **sent)
        batch.notify(CHANNEL)
    if sent and inserted.result:
        transaction.on_commit(partial(broker.send, kind, job.pk))


def enqueue_now(kind: str, payload: Mapping[str, Any], *, key: str) -> None:
    """As `enqueue`; but the job of that key that waits, or is dead, begins now, with this payload, as if it were new.

    One that runs is left alone. Its handler must look, in the transaction that finishes it, at what has changed.
    """
    enqueue(kind, payload, key=key)
    idle = Job.objects.filter(key=key).exclude(state=State.RUNNING)
    idle.update(**_READY_AGAIN, payload=dict(payload), due_at=database_now())


def wake() -> None:
    """Wakes the workers once the transaction commits. On SQLite they see the commit itself."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, '')", [CHANNEL])


def handler_of(kind: str) -> Any:
    """The function that does such jobs. Raises UnknownKind, and ImportError if the function cannot be imported."""
    try:
        return import_string(settings.JOBS[kind])
    except KeyError:
        raise UnknownKind(kind) from None


# ---- Doing jobs -----------------------------------------------------------------------------------------------------


def claim(
    worker: str,
    limit: int,
    *,
    pk: int | None = None,
    kind: str | None = None,
    room: Mapping[str, int] | None = None,
) -> list[Claimed]:
    """Takes up to `limit` jobs that are due, the longest due first, in one statement. With `pk`, only that one, unless
    it stands in line.

    A job whose lease has run out is due, too. One that was claimed more than MOST_ATTEMPTS times fails, and is not
    returned. Kinds that the settings do not name belong to another version, whose workers will claim them.

    With `kind`, only such jobs. `room` has how many more jobs of a kind the worker may run; other kinds have no bound.
    Of each kind come those that fall due, and then those that stand in line, by their places.
    """
    rooms = _rooms([kind] if kind else settings.JOBS, room or {}, limit)
    if not rooms:
        return []
    now = database_now()
    until, moment = map(connection.ops.adapt_datetimefield_value, (now + lease(), now))
    values: dict[str, Any] = {"worker": worker, "until": until, "now": moment}
    if pk is None:
        sql = beginning.claim_sql(connection.vendor)
        values |= {"rooms": _json(rooms), "lines": _json(_with_lines(rooms)), "limit": limit}
    else:
        sql = beginning.claim_one_sql(connection.vendor)
        values |= {"pk": pk, "kinds": _array(list(rooms))}
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        rows = cursor.fetchall()
    claimed = [
        Claimed(pk, kind, orjson.loads(payload), key, attempt, worker, place=place)
        for pk, kind, payload, key, attempt, place in rows
    ]
    for job in claimed:
        if job.attempt > MOST_ATTEMPTS:
            fail(job, f"Its worker was lost {MOST_ATTEMPTS} times.")
    return [job for job in claimed if job.attempt <= MOST_ATTEMPTS]


def _rooms(kinds: Iterable[str], room: Mapping[str, int], limit: int) -> dict[str, int]:
    """Kind → how many of it may begin, without those of which none may."""
    rooms = {kind: min(room.get(kind, limit), limit) for kind in kinds}
    return {kind: count for kind, count in rooms.items() if count > 0}


def _with_lines(rooms: Mapping[str, int]) -> dict[str, int]:
    """The kinds of which jobs may stand in line: nobody waits long for one that may take all places of a worker."""
    return {kind: count for kind, count in rooms.items() if kind in settings.JOB_SHARES}


def _array(values: list[str]) -> Any:
    """Texts as one parameter of a statement."""
    return values if connection.vendor == "postgresql" else _json(values)


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def claims_of(worker: str, keys: Iterable[str]) -> list[Claimed]:
    """The jobs with these keys that are a worker's, such as those that were added for it (`enqueue`)."""
    rows = Job.objects.filter(key__in=keys, worker=worker, state=State.RUNNING, due_at__gt=database_now())
    columns = ("pk", "kind", "payload", "key", "attempt", "worker")
    return [Claimed(*row) for row in rows.order_by("pk").values_list(*columns)]


def renew(worker: str, running: Iterable[Claimed]) -> None:
    """Extends the leases of the jobs that a worker still runs. A lease that has run out is not revived."""
    keys = [job.pk for job in running]
    if keys:
        now = database_now()
        owned = Job.objects.filter(pk__in=keys, worker=worker, state=State.RUNNING, due_at__gt=now)
        owned.update(due_at=now + lease())


def fail(job: Claimed, reason: str) -> None:
    """The attempt failed. The job is tried again after a while (`backoff`), or is dead after MOST_ATTEMPTS.

    A periodic job never dies. After MOST_ATTEMPTS it counts from 0 again, and waits for its interval or the backoff,
    whichever is longer. Nor does one of JOBS_THAT_NEVER_DIE: it has one more attempt after each LONGEST_BACKOFF.
    """
    reason = " ".join(reason.split())[:LONGEST_REASON] or "It failed without a word."
    wait, attempt = backoff(job.attempt), job.attempt
    if attempt >= MOST_ATTEMPTS and job.kind in settings.JOBS_THAT_NEVER_DIE:
        wait, attempt = LONGEST_BACKOFF, MOST_ATTEMPTS - 1
    elif attempt >= MOST_ATTEMPTS:
        interval = schedule().get(job.key)
        if interval is None:
            compiled_sql.update(Job, job.fence, state=State.DEAD, **_IDLE, reason=reason)
            return
        wait, attempt = max(wait, interval), 0
    due = database_now() + timedelta(seconds=wait)
    compiled_sql.update(Job, job.fence, **_READY, reason=reason, due_at=due, attempt=attempt)


def give_back(job: Claimed) -> None:
    """The worker ends before the job does. Others may claim it at once, and late writes of this attempt are refused."""
    with Batch() as batch:
        batch.update(Job, job.fence, **_untried(job), due_at=NOW)
        batch.notify(CHANNEL)


def postpone(job: Claimed, seconds: float) -> None:
    """The job cannot be done now, which is no failure: it is due again after so many seconds."""
    due = database_now() + timedelta(seconds=seconds)
    compiled_sql.update(Job, job.fence, **_untried(job), due_at=due)
    job.finished = True


def _untried(job: Claimed) -> dict[str, Any]:
    """The columns of a job that was claimed and waits again, as if it had not been."""
    return {**_READY, "attempt": max(0, job.attempt - 1)}


def backoff(attempt: int) -> float:
    """Seconds before the next attempt, doubled each time. Jitter spreads jobs that failed together."""
    longest = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** min(attempt - 1, 20))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311  jitter


def lease() -> timedelta:
    return timedelta(seconds=settings.JOB_LEASE_SECONDS)


def next_due(room: Mapping[str, int] | None = None) -> datetime | None:
    """When the next job of a kind that this version knows falls due, or its lease ends; one that stands in line is due.
    Takes no lock.

    Kinds of which the worker may run no more, by `room` as `claim` takes it, do not count.
    """
    rooms = _rooms(settings.JOBS, room or {}, 1)
    values = {"kinds": _array(list(rooms)), "lines": _array(list(_with_lines(rooms)))}
    [first] = Job.objects.raw(beginning.next_due_sql(connection.vendor), values)
    return first.due_at


# ---- Operators ------------------------------------------------------------------------------------------------------


def retry(pk: int) -> bool:
    """Lets a dead or waiting job begin now, as if it had never failed. Returns False if it runs or is gone."""
    with transaction.atomic():
        waiting = Job.objects.filter(pk=pk).exclude(state=State.RUNNING)
        changed = waiting.update(**_IDLE, state=State.READY, attempt=0, due_at=database_now())
        wake()
    return bool(changed)


def cancel(pk: int) -> bool:
    """Removes a job, also from the worker that runs it: what that writes is rolled back. Returns False if it is gone.

    Of a periodic job it cancels only this run. The next one comes with the schedule.
    """
    row = Job.objects.filter(pk=pk)
    interval = schedule().get(row.values_list("key", flat=True).first())
    if interval is None:
        return bool(row.delete()[0])
    due = database_now() + timedelta(seconds=interval)
    # Go on counting, up to MOST_ATTEMPTS: this attempt, which may still run, must not share its number with the next.
    return bool(row.update(**_READY, due_at=due, attempt=F("attempt") % MOST_ATTEMPTS))


# ---- The schedule ---------------------------------------------------------------------------------------------------


def schedule() -> dict[str | None, float]:
    """Key of a periodic job → seconds between its runs."""
    return {f"every:{kind}": seconds for kind, seconds in settings.JOB_SCHEDULE.items()}


def follow_schedule() -> None:
    """Makes the periodic jobs that are missing, revives dead ones, and removes those that are no longer periodic.

    If the clock was set back, a running job whose lease has more than its length left is left just that, and a periodic
    one that would wait longer than it ever does is due at once.

    Jobs of kinds that the settings do not name stay: during an upgrade they belong to the other version.
    """
    now = database_now()
    scheduled = {f"every:{kind}": kind for kind in settings.JOB_SCHEDULE}
    rows = {row.key: row for row in Job.objects.filter(key__startswith="every:")}
    missing = [Job(kind=scheduled[key], key=key, due_at=now, created_at=now) for key in scheduled.keys() - rows.keys()]
    dead = [key for key, row in rows.items() if key in scheduled and row.state == State.DEAD]
    late = [key for key, row in rows.items() if key in scheduled and row.due_at > now + _longest_wait(row.kind)]
    obsolete = [key for key, row in rows.items() if key not in scheduled and row.kind in settings.JOBS]
    too_long = Job.objects.filter(state=State.RUNNING, due_at__gt=now + lease())
    # Write only if there is something to change, which is rare: on SQLite every write waits for the one write lock.
    if missing:
        Job.objects.bulk_create(missing, ignore_conflicts=True)
    if dead:
        Job.objects.filter(key__in=dead, state=State.DEAD).update(state=State.READY, attempt=0, due_at=now)
    if late:
        Job.objects.filter(key__in=late, state=State.READY).update(due_at=now)
    if too_long.exists():
        too_long.update(due_at=now + lease())
    if obsolete:  # one that runs just now is deleted when it is done
        Job.objects.filter(key__in=obsolete).exclude(state=State.RUNNING).delete()


def _longest_wait(kind: str) -> timedelta:
    """The longest that a periodic job waits: for its interval, or after its last failure.

    A lease is added, since rows may be written while they are read.
    """
    last_backoff = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** (MOST_ATTEMPTS - 1))
    return timedelta(seconds=max(settings.JOB_SCHEDULE[kind], last_backoff)) + lease()
