"""The conditions of jobs: some are dead or fail each time, nobody does any, or they wait for long."""

from collections.abc import Iterator

from django.conf import settings
from django.db.models import Count, QuerySet
from django.urls import reverse
from django.utils.http import urlencode

from bedrock_chat.alerts.conditions import Problem
from bedrock_chat.alerts.models import Severity
from bedrock_chat.database.connections import database_now
from bedrock_chat.jobs import backlog, queue
from bedrock_chat.jobs.models import Job, State

DEAD = "dead jobs"
FAILING = "failing jobs"
NO_WORKER = "no worker"
WAITING = "waiting jobs"
LONG_WAIT_SECONDS = 600


def dead() -> Iterator[Problem]:
    """One problem for each kind of job of which some are dead."""
    jobs = Job.objects.filter(state=State.DEAD, kind__in=settings.JOBS)
    for kind, number in _counted(jobs):
        was = "job was" if number == 1 else "jobs were"
        remedy = "Read the reason, mend its cause, and retry them."
        yield _problem(kind, number, f"{was} given up", remedy, state__exact=State.DEAD)


def failing() -> Iterator[Problem]:
    """One problem for each kind of job that never dies, while the last of many attempts at some of them has failed."""
    kinds = settings.JOBS_THAT_NEVER_DIE & settings.JOBS.keys()
    jobs = Job.objects.filter(kind__in=kinds, attempt__gte=queue.MOST_ATTEMPTS - 1).exclude(reason="")
    for kind, number in _counted(jobs):
        fails = "job fails" if number == 1 else "jobs fail"
        remedy = "Read the reason, and mend its cause. They are tried again within an hour."
        yield _problem(kind, number, f"{fails} each time", remedy)


def _counted(jobs: QuerySet[Job]) -> QuerySet[Job, tuple[str, int]]:
    """Kinds of these jobs with their number, the most frequent one first."""
    return jobs.values_list("kind").annotate(number=Count("pk")).order_by("-number", "kind")


def _problem(kind: str, number: int, happens: str, remedy: str, **filters: str) -> Problem:
    """The problem that so many jobs of a kind have. Its link leads to the list of jobs with these filters."""
    return Problem(
        subject=kind,
        severity=Severity.URGENT,
        sentence=f"{number} {happens}: {kind}.",
        remedy=remedy,
        link=f"{reverse('admin:bedrock_chat_job_changelist')}?{urlencode({**filters, 'kind': kind})}",
        facts={"kind": kind, "jobs": number},
    )


def no_worker() -> Iterator[Problem]:
    """Nobody does jobs. No job can send that: the console tells it, and `/ready`."""
    if not backlog.workers_seen(database_now()):
        yield Problem(
            subject="all",
            severity=Severity.URGENT,
            sentence="No worker was seen lately, so no job is done.",
            remedy="Start one: manage.py run_worker.",
            link=reverse("admin:bedrock_chat_worker_changelist"),
        )


def waiting() -> Iterator[Problem]:
    """There are workers, and they do not get through."""
    state = backlog.look()
    if state.workers and state.oldest_seconds > LONG_WAIT_SECONDS:
        minutes = round(state.oldest_seconds / 60)
        yield Problem(
            subject="all",
            severity=Severity.WARNING,
            sentence=f"Jobs wait: {state.waiting:,} are due, the oldest one for {minutes:,} minutes.",
            remedy="Start another worker, or see in the metrics which kind takes long.",
            link=reverse("admin:bedrock_chat_job_changelist"),
            facts={"jobs": state.waiting, "minutes": minutes},
        )
