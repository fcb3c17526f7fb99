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
from bots.knowledge import deleting, revisions
from bots.knowledge.models import Knowledge, Source, SourceKind
from bots.models import SyncStatus

MOST: Final = 1_000
"""Of bots in one run."""


def look_after(_: Claimed) -> None:
    """The job."""
    now = database_now()
    waiting = _waiting(now)
    if not waiting:
        return
    keys = [key for row in waiting for key in (revisions.key_of(row.pk), f"{deleting.KIND}:{row.pk}")]
    jobs = {job.key: job for job in Job.objects.filter(key__in=keys) if job.key is not None}
    for knowledge in waiting:
        with transaction.atomic():
            row = Knowledge.objects.select_for_update().filter(pk=knowledge.pk).first()
            if row is not None:
                _look_at(row, jobs, now)


def _waiting(now: datetime) -> Sequence[Knowledge]:
    """The knowledge that may need something."""
    wanted = Q(wanted__gt=F("done"), bot__owner__is_active=True)
    rows = Knowledge.objects.filter(wanted | Q(retry_at__lte=now) | Q(bot__isnull=True) | _to_be_refreshed(now))
    return list(rows.order_by("pk")[:MOST])


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


def _look_at(knowledge: Knowledge, jobs: Mapping[str, Job], now: datetime) -> None:
    """Asks for what a locked knowledge needs."""
    if knowledge.bot_id is None:
        if f"{deleting.KIND}:{knowledge.pk}" not in jobs:
            deleting.ask(knowledge.pk)
        return
    if knowledge.wanted == knowledge.done:
        if _is_due(knowledge, now):
            revisions.raise_revision(knowledge.pk)
            revisions.ask(knowledge.pk)
        return
    job = jobs.get(revisions.key_of(knowledge.pk))
    if job is None:
        revisions.ask(knowledge.pk)
    elif job.state == State.DEAD:
        _revive(knowledge, job, now)


def _is_due(knowledge: Knowledge, now: datetime) -> bool:
    if knowledge.retry_at is not None:
        return knowledge.retry_at <= now
    hours = settings.KNOWLEDGE_REFRESH_HOURS
    return bool(hours) and knowledge.synced_at is not None and knowledge.synced_at <= now - timedelta(hours=hours)


def _revive(knowledge: Knowledge, job: Job, now: datetime) -> None:
    """A job that has died begins anew where its sync has moved since it was asked for; else the sync has failed."""
    if knowledge.moved_at is not None and knowledge.moved_at > knowledge.asked_at:
        Knowledge.objects.filter(pk=knowledge.pk).update(asked_at=now)
        revisions.ask(knowledge.pk)
    elif knowledge.sync_status != SyncStatus.FAILED:
        reason = f"The sync could not be done: {job.reason}"[:1000]
        Knowledge.objects.filter(pk=knowledge.pk).update(sync_status=SyncStatus.FAILED, sync_status_reason=reason)
