"""How much work waits and for how long, as `/ready` and `/metrics` tell, and what became of it."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Count, Min, Q

from bedrock_chat.database.connections import database_now
from bedrock_chat.jobs.models import IS_ALIVE, Job, State, Worker
from bedrock_chat.metrics.figures import Figures
from bedrock_chat.metrics.instruments import LONG_SECONDS, OTHER, Counter, Figure, Histogram, Labels

SEEN_SECONDS = 5.0
"""How often a worker reports."""
MISSED = 3
"""A worker that has not reported for so many SEEN_SECONDS counts as gone."""
MOST_COUNTED = 10_000

ENDED = Counter(
    "bedrock_chat_job_attempts_total", "Attempts at jobs that ended: done, failed, lost.", ("kind", "outcome")
)
DURATION = Histogram(
    "bedrock_chat_job_duration_seconds", "How long attempts at jobs took.", ("kind",), buckets=LONG_SECONDS
)
WAITING = Figure("bedrock_chat_jobs_waiting", "Jobs that are due and that nobody has begun.", ("kind",))
OLDEST = Figure("bedrock_chat_jobs_oldest_wait_seconds", "How long the oldest waiting job has been due.", ("kind",))
RUNNING = Figure("bedrock_chat_jobs_running", "Jobs that workers have begun.", ("kind",))
SCHEDULED = Figure("bedrock_chat_jobs_scheduled", "Jobs that are due later.", ("kind",))
DEAD = Figure("bedrock_chat_jobs_dead", "Jobs that were given up, and wait for an operator.", ("kind",))
WORKERS = Figure("bedrock_chat_workers", "Workers that were seen lately.")


@dataclass(frozen=True, slots=True)
class Backlog:
    """Workers that are alive, jobs that are due and not begun (up to MOST_COUNTED), and for how many seconds the oldest
    one has been due.
    """

    workers: int
    waiting: int
    oldest_seconds: float


def measure(kind: str, outcome: str, seconds: float) -> None:
    """An attempt at a job has ended."""
    kind = _named(kind)
    ENDED.add(kind, outcome)
    DURATION.observe(seconds, kind)


def look() -> Backlog:
    """Two statements, on the index of what falls due. Balancers ask often, so they read MOST_COUNTED jobs at most."""
    now = database_now()
    due = Job.objects.filter(IS_ALIVE, due_at__lte=now).order_by("due_at")[:MOST_COUNTED]
    row = due.aggregate(waiting=Count("pk"), oldest=Min("due_at"))
    oldest = (now - row["oldest"]).total_seconds() if row["oldest"] else 0.0
    return Backlog(workers_seen(now), row["waiting"], round(max(0.0, oldest), 3))


def figures() -> Figures:
    """By kind: what waits, what runs, what is dead. Two statements, of which one reads the jobs that there are."""
    now = database_now()
    is_due, is_dead = Q(due_at__lte=now), Q(state=State.DEAD)
    rows = Job.objects.values("kind").annotate(
        waiting=Count("pk", filter=is_due & ~is_dead),
        running=Count("pk", filter=Q(state=State.RUNNING) & ~is_due),
        scheduled=Count("pk", filter=Q(state=State.READY) & ~is_due),
        dead=Count("pk", filter=is_dead),
        oldest=Min("due_at", filter=is_due & ~is_dead),
    )
    kinds: list[Labels] = [(kind,) for kind in (*settings.JOBS, OTHER)]
    waiting, oldest, running, scheduled, dead = (dict.fromkeys(kinds, 0.0) for _ in range(5))
    for row in rows:
        labels = (_named(row["kind"]),)
        waiting[labels] += row["waiting"]
        running[labels] += row["running"]
        scheduled[labels] += row["scheduled"]
        dead[labels] += row["dead"]
        if row["oldest"]:
            oldest[labels] = max(oldest[labels], (now - row["oldest"]).total_seconds())
    return {
        WAITING: waiting,
        OLDEST: oldest,
        RUNNING: running,
        SCHEDULED: scheduled,
        DEAD: dead,
        WORKERS: {(): float(workers_seen(now))},
    }


def workers_seen(now: datetime) -> int:
    """The number of workers that are alive just now, in any process on this database."""
    return Worker.objects.filter(seen_at__gte=now - timedelta(seconds=SEEN_SECONDS * MISSED)).count()


def _named(kind: str) -> str:
    """A kind that the settings do not name belongs to another version."""
    return kind if kind in settings.JOBS else OTHER
