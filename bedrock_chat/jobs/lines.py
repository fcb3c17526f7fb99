"""Lines: jobs of one kind that begin in an order which is fair to those on whose behalf they are done, the parties.

A line has places, of which the lowest comes first; at one place, who stands there longest. A party has at most one job
at a place: its second stands a place behind its first, its third behind that one. So whoever has asked for hundreds of
jobs keeps nobody else waiting for more than a job or two. The line is in the rows, so it is one for all workers.

Who has had a turn stands in no row once that has ended. So each process remembers at which place it has begun a job
last, and whose jobs it has begun there: their next ones stand a place behind those of others who have come meanwhile.
"""

from typing import Any

from django.conf import settings
from django.db.models import Exists, F, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce, Greatest, Least

from bedrock_chat.database.connections import database_now
from bedrock_chat.jobs.models import FALLS_DUE, STANDS_IN_LINE, Job, State
from bedrock_chat.jobs.queue import Claimed

_begun: dict[str, tuple[int, set[str]]] = {}
"""Kind → the place at which this process has begun a job of that kind last, and the parties that have begun there."""


def stand(job: Claimed, party: str, *, after: int | None = None) -> bool:
    """Puts a job that was claimed as it fell due into the line of its kind, if any other such job waits. Returns
    whether it stands there now: then this claim is over, and the job is claimed again when its place is the first.

    It stands behind all jobs of its party, and at the first place of the line if there are none, or where the last one
    has begun here, if that is a place before. A job that goes on tells in `after` the place from which it has run: if
    that is still the first, it stands one behind. Only kinds of which a worker runs a few at a time have lines.
    """
    if job.kind not in settings.JOB_SHARES:
        return False
    if job.place is not None:
        _note_begun(job.kind, party, job.place)
        return False
    now = database_now()
    others = Job.objects.filter(kind=job.kind).exclude(pk=job.pk)
    wait = Exists(others.filter(STANDS_IN_LINE)) | Exists(others.filter(FALLS_DUE, state=State.READY, due_at__lte=now))
    placed = Job.objects.filter(kind=job.kind, place__isnull=False)
    latest, parties = _begun.get(job.kind, (None, set[str]()))
    first = Coalesce(_place(placed.order_by("place")), 0 if latest is None else latest + 1)
    begins = first if latest is None else Greatest(first - 1, Least(first, Value(latest + (party in parties))))
    last = Coalesce(_place(placed.filter(party=party).order_by("-place")), -1)
    behind = Value(0 if after is None else after + 1)
    stood = Job.objects.filter(wait, **job.fence).update(
        state=State.READY,
        worker="",
        attempt=max(0, job.attempt - 1),
        due_at=now,
        party=party,
        place=Greatest(begins, Least(first + 1, behind), last + 1),
    )
    if not stood:  # nobody waits, so nobody is before or behind anybody
        _begun[job.kind] = (0 if latest is None else latest, {party})
    job.finished = job.finished or bool(stood)
    return bool(stood)


def _note_begun(kind: str, party: str, place: int) -> None:
    latest, parties = _begun.get(kind, (None, set[str]()))
    _begun[kind] = (place, {party, *parties} if place == latest else {party})


def kind_of(pk: int) -> str | None:
    """The kind of a job, if it stands in line."""
    return Job.objects.filter(STANDS_IN_LINE, pk=pk).values_list("kind", flat=True).first()


def _place(rows: QuerySet[Job]) -> Any:
    return Subquery(rows.annotate(row_place=F("place")).values("row_place")[:1])
