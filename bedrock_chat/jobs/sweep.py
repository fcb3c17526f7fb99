"""Messages for the jobs that Celery's workers have not been told of, or in vain.

A job is swept when it falls due later than it was added (periodic ones, retries, leases that ran out), and when its
message was lost. Every Celery worker sweeps. A row is marked in the transaction that picks it, so that each job gets
one message, however many sweep.
"""

import logging
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet

from bedrock_chat.database import waiting
from bedrock_chat.database.connections import database_now, release_connection
from bedrock_chat.jobs import broker, queue
from bedrock_chat.jobs.models import IS_ALIVE, Job, State

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
SHORTEST_PAUSE = 0.02
MOST_AT_ONCE = 100
SHORT_QUEUE = 1000
"""While more messages of a kind wait than that, none of them is taken for lost: the workers have enough to do."""


def sweep() -> float:
    """Sends what is missing. Returns the seconds until it should be called again."""
    if not broker.takes_messages():
        return LOOK_SECONDS
    try:
        with waiting.at_most(settings.DATABASE_TIMEOUT):
            now = database_now()
            due = Job.objects.filter(IS_ALIVE, due_at__lte=now, kind__in=list(settings.JOBS))
            # What was sent in the future was sent before the clock was set back.
            is_fresh = Q(sent_at=None) | Q(sent_at__lt=F("due_at")) | Q(sent_at__gt=now)
            fresh = _pick(due.filter(is_fresh), now, MOST_AT_ONCE)
            unanswered = due.filter(sent_at__lt=now - queue.lease())
            kinds = list(unanswered.order_by().values_list("kind", flat=True).distinct())
            next_due = None if len(fresh) == MOST_AT_ONCE else _next_due(now)
        release_connection()
        for pk, kind in fresh:
            broker.send_patiently(kind, pk)
        for kind in kinds:
            _send_again(unanswered.filter(kind=kind), kind, now)
    except Exception:
        # If the database is away, it comes back. Until then there is nothing to do.
        logger.exception("jobs cannot be swept for now")
        return LOOK_SECONDS
    finally:
        release_connection()
    if len(fresh) == MOST_AT_ONCE:
        return SHORTEST_PAUSE
    if next_due is None:
        return LOOK_SECONDS
    return min(LOOK_SECONDS, max(SHORTEST_PAUSE, (next_due - now).total_seconds()))


def _send_again(unanswered: QuerySet[Job], kind: str, now: datetime) -> None:
    """Nobody has begun these jobs within a lease's length after they were told of.

    Either the message is lost, or all workers are busy and it waits in the broker. In the latter case more messages
    would help nobody, so the broker is asked how many wait.
    """
    try:
        room = SHORT_QUEUE - broker.unread(kind)
    except Exception as error:  # noqa: BLE001  each transport has errors of its own
        broker.BROKER.failed(error)
        return
    if room <= 0:
        return
    with waiting.at_most(settings.DATABASE_TIMEOUT):
        jobs = _pick(unanswered, now, room)
    release_connection()
    for pk, _ in jobs:
        broker.send_patiently(kind, pk)


def _pick(jobs: QuerySet[Job], now: datetime, limit: int) -> list[tuple[int, str]]:
    """The ids and kinds of up to `limit` of these jobs, the longest due first. They count as told of from now on."""
    if not jobs.exists():  # a transaction would wait for SQLite's one writer
        return []
    with transaction.atomic():
        locked = jobs.select_for_update(skip_locked=True).order_by("due_at")
        rows = list(locked.values_list("pk", "kind")[:limit])
        Job.objects.filter(pk__in=[pk for pk, _ in rows]).update(sent_at=now)
    return rows


def _next_due(now: datetime) -> datetime | None:
    later = Job.objects.filter(IS_ALIVE, due_at__gt=now, kind__in=list(settings.JOBS))
    return later.order_by("due_at").values_list("due_at", flat=True).first()


def put_back(pk: int) -> None:
    """Nobody here begins this job although its message came here: the next sweep sends another."""
    Job.objects.filter(pk=pk, state=State.READY).update(sent_at=None)
