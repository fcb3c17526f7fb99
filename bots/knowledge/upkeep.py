"""The periodic job: asks for syncs that are wanted and that nobody has asked for, and for those whose time has come.

One read a minute where nothing is to be done.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q

from bedrock_chat.database.connections import database_now
from bedrock_chat.jobs.models import Job, State
from bedrock_chat.jobs.queue import Claimed
from bots.knowledge import deleting, faults, revisions
from bots.knowledge.models import Knowledge, Source, SourceKind
from bots.knowledge.states import Blame
from bots.models import SyncStatus

MOST: Final = 1_000
"""Rows that one query reads."""
MOST_ASKED: Final = 200
"""Bots for which one run asks for anything. The next run comes in a minute, and those of this one have jobs by then."""
FAULT: Final = f"The sync could not be done {faults.OF_THIS_SERVER}"


def look_after(_: Claimed) -> None:
    """The job."""
    now = database_now()
    number, last = 0, 0
    while number < MOST_ASKED and (waiting := _waiting(now, last)):
        last = waiting[-1].pk
        jobs = _jobs(waiting)
        for knowledge in waiting:
            if number < MOST_ASKED and _needs(knowledge, jobs, now):
                number += 1
                _look_at(knowledge.pk, now)
        if len(waiting) < MOST:
            return


def _jobs(rows: Sequence[Knowledge]) -> Mapping[str, Job]:
    """The jobs of some knowledge, by key."""
    keys = [key for row in rows for key in (revisions.key_of(row.pk), deleting.key_of(row.pk))]
    return {job.key: job for job in Job.objects.filter(key__in=keys) if job.key is not None}


def _waiting(now: datetime, last: int) -> Sequence[Knowledge]:
    """The knowledge that may need something, after a key. A sync that has failed for good waits for an edit or a
    request.
    """
    wanted = Q(wanted__gt=F("done"), bot__owner__is_active=True) & ~Q(sync_status=SyncStatus.FAILED)
    rows = Knowledge.objects.filter(wanted | Q(retry_at__lte=now) | Q(bot__isnull=True) | _to_be_refreshed(now))
    return list(rows.filter(pk__gt=last).order_by("pk")[:MOST])


def _to_be_refreshed(now: datetime) -> Q:
    """The condition of knowledge from places that may have changed since its last sync."""
    hours = settings.KNOWLEDGE_REFRESH_HOURS
    if not hours:
        return Q(pk__in=[])
    places = Source.objects.filter(is_removed=False).exclude(kind=SourceKind.FILE)
    return Q(
        synced_at__lte=now - timedelta(hours=hours),
        wanted=F("done"),
        bot__owner__is_active=True,
        pk__in=places.values("knowledge"),
    )


def _needs(knowledge: Knowledge, jobs: Mapping[str, Job], now: datetime) -> bool:
    """Whether anything is to be done for it."""
    if knowledge.bot_id is None:
        return deleting.key_of(knowledge.pk) not in jobs
    if knowledge.wanted == knowledge.done:
        return _is_due(knowledge, now)
    job = jobs.get(revisions.key_of(knowledge.pk))
    return job is None or (job.state == State.DEAD and knowledge.sync_status != SyncStatus.FAILED)


def _look_at(pk: int, now: datetime) -> None:
    """Asks for what knowledge needs, which is read again under its lock."""
    with transaction.atomic():
        knowledge = Knowledge.objects.select_for_update().filter(pk=pk).first()
        if knowledge is None:
            return
        jobs = _jobs([knowledge])
        if not _needs(knowledge, jobs, now):
            return
        if knowledge.bot_id is None:
            deleting.ask(pk)
        elif knowledge.wanted == knowledge.done:
            revisions.raise_revision(pk)
            revisions.ask(pk)
        elif revisions.key_of(pk) in jobs:
            _revive(knowledge, now)
        else:
            revisions.ask(pk)


def _is_due(knowledge: Knowledge, now: datetime) -> bool:
    if knowledge.retry_at is not None:
        return knowledge.retry_at <= now
    hours = settings.KNOWLEDGE_REFRESH_HOURS
    return bool(hours) and knowledge.synced_at is not None and knowledge.synced_at <= now - timedelta(hours=hours)


def _revive(knowledge: Knowledge, now: datetime) -> None:
    """A job that has died begins anew where its sync has moved since it was asked for; else the sync has failed.

    Why it died is the job's to tell, to operators: the text of an exception may quote anything.
    """
    if knowledge.moved_at is not None and knowledge.moved_at > knowledge.asked_at:
        Knowledge.objects.filter(pk=knowledge.pk).update(asked_at=now)
        revisions.ask(knowledge.pk)
    else:
        columns = {"sync_status": SyncStatus.FAILED, "sync_status_reason": FAULT, "blame": Blame.OPERATOR}
        Knowledge.objects.filter(pk=knowledge.pk).update(**columns)
        deleting.ask(knowledge.pk)
