"""Jobs, and the workers that do them."""

from django.db import models
from django.db.models import Q


class State(models.TextChoices):
    """A job that is done has no row."""

    READY = "ready"
    RUNNING = "running"
    DEAD = "dead"


FALLS_DUE = ~Q(state=State.DEAD) & (Q(place__isnull=True) | Q(state=State.RUNNING))
"""The condition of jobs that begin when `due_at` has come. `jobs.beginning` has it in SQL."""
IS_ALIVE = Q(state=State.READY) | Q(state=State.RUNNING)
"""The condition of jobs of all kinds by time. It says the same as "not dead", in words that the conditions above do not
lead to: so no database takes this index for them, and reads past the queue of another kind.
"""
STANDS_IN_LINE = Q(state=State.READY, place__isnull=False)
"""The condition of jobs that begin in the order of their places (`jobs.lines`)."""


class Job(models.Model):
    """Work to be done once, by whichever worker claims it.

    `due_at` is when it may begin or, while it runs, when its lease ends and another worker may take it. `attempt`
    counts the claims and fences what they write: a write is refused once the row has another number. Of one `key` there
    is at most one job at a time. A dead job waits for an operator, with the reason why it failed last. A job with a
    `place` stands in the line of its kind on behalf of its `party`, or runs from there (`jobs.lines`).
    """

    kind = models.CharField(max_length=64, help_text="Which of the setting JOBS does it.")
    payload = models.JSONField(default=dict, blank=True)
    key = models.CharField(max_length=256, null=True, blank=True, unique=True)
    state = models.CharField(max_length=7, choices=State, default=State.READY)
    due_at = models.DateTimeField()
    attempt = models.PositiveIntegerField(default=0)
    worker = models.CharField(max_length=26, blank=True, default="")
    reason = models.TextField(blank=True, default="", help_text="Why its last attempt failed.")
    created_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True, blank=True, help_text="When Celery workers were last told of it.")
    party = models.CharField(max_length=128, null=True, blank=True, help_text="On whose behalf it stands in line.")
    place = models.BigIntegerField(null=True, blank=True, help_text="Its place in the line of its kind.")

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=(Q(state=State.RUNNING) & ~Q(worker="")) | (~Q(state=State.RUNNING) & Q(worker="")),
                name="a_running_job_has_a_worker",
            ),
            models.CheckConstraint(condition=~Q(state=State.DEAD) | ~Q(reason=""), name="a_dead_job_tells_why"),
            models.CheckConstraint(
                condition=Q(place__isnull=True) | Q(party__isnull=False), name="a_job_in_line_has_a_party"
            ),
        ]
        indexes = [
            models.Index(fields=["due_at"], condition=IS_ALIVE, name="jobs_by_time"),
            models.Index(fields=["kind", "due_at"], condition=FALLS_DUE, name="jobs_of_a_kind_that_fall_due"),
            models.Index(fields=["kind", "place", "due_at"], condition=Q(place__isnull=False), name="jobs_in_line"),
            models.Index(fields=["kind", "party", "place"], condition=Q(place__isnull=False), name="jobs_of_a_party"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"


class Worker(models.Model):
    """A process that does jobs. It counts as alive for as long as it keeps setting `seen_at`."""

    id = models.CharField(primary_key=True, max_length=26)
    host = models.CharField(max_length=255)
    process = models.PositiveIntegerField(help_text="Its process id there.")
    concurrency = models.PositiveIntegerField(help_text="How many jobs it does at a time.")
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.host}:{self.process}"
