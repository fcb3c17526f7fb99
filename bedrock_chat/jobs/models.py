"""Jobs, and the workers that do them."""

from django.db import models
from django.db.models import Q


class State(models.TextChoices):
    """A job that is done has no row."""

    READY = "ready"
    RUNNING = "running"
    DEAD = "dead"


class Job(models.Model):
    """Work to be done once, by whichever worker claims it.

    `due_at` is when it may begin or, while it runs, when its lease ends and another worker may take it. `attempt`
    counts the claims and fences what they write: a write is refused once the row has another number. Of one `key` there
    is at most one job at a time. A dead job waits for an operator, with the reason why it failed last.
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

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=(Q(state=State.RUNNING) & ~Q(worker="")) | (~Q(state=State.RUNNING) & Q(worker="")),
                name="a_running_job_has_a_worker",
            ),
            models.CheckConstraint(condition=~Q(state=State.DEAD) | ~Q(reason=""), name="a_dead_job_tells_why"),
        ]
        indexes = [models.Index(fields=["due_at"], condition=~Q(state=State.DEAD), name="jobs_that_fall_due")]

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
