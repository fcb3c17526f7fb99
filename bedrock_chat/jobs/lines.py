"""Lines: jobs of one kind that begin in an order which is fair to those on whose behalf they are done, the parties.

A line has places, of which the lowest comes first; at one place, who stands there longest. A party has at most one job
at a place: its second stands a place behind its first, its third behind that one. So whoever has asked for hundreds of
jobs keeps nobody else waiting for more than a job or two. The line is in the rows, so it is one for all workers.
"""

from typing import Any

from django.conf import settings
from django.db.models import Exists, F, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce, Greatest, Least

from bedrock_chat.database.connections import database_now
from bedrock_chat.jobs.models import FALLS_DUE, STANDS_IN_LINE, Job, State
from bedrock_chat.jobs.queue import Claimed


def stand(job: Claimed, party: str, *, after: int | None = None) -> bool:
    """Puts a job that was claimed as it fell due into the line of its kind, if any other such job waits. Returns
    whether it stands there now: then this claim is over, and the job is claimed again when its place is the first.

    It stands behind all jobs of its party, and at the first place of the line if there are none. A job that goes on
    tells in `after` the place from which it has run: where that is still the first, it stands one behind. Only kinds of
    which a worker runs a few at a time have lines.
    """
    if job.place is not None or job.kind not in settings.JOB_SHARES:
        return False
    now = database_now()
    others = Job.objects.filter(kind=job.kind).exclude(pk=job.pk)
    wait = Exists(others.filter(STANDS_IN_LINE)) | Exists(others.filter(FALLS_DUE, state=State.READY, due_at__lte=now))
    placed = Job.objects.filter(kind=job.kind, place__isnull=False)
    first = Coalesce(_place(placed.order_by("place")), 0)
    last = Coalesce(_place(placed.filter(party=party).order_by("-place")), -1)
    behind = Value(0 if after is None else after + 1)
    stood = Job.objects.filter(wait, **job.fence).update(
        state=State.READY,
        worker="",
        attempt=max(0, job.attempt - 1),
        due_at=now,
        party=party,
        place=Greatest(first, Least(first + 1, behind), last + 1),
    )
    job.finished = job.finished or bool(stood)
    return bool(stood)


def kind_of(pk: int) -> str | None:
    """The kind of a job, if it stands in line."""
    return Job.objects.filter(STANDS_IN_LINE, pk=pk).values_list("kind", flat=True).first()


def _place(rows: QuerySet[Job]) -> Any:
    return Subquery(rows.annotate(row_place=F("place")).values("row_place")[:1])
