"""Alerts that are open."""

from django.db import models
from django.db.models import Q


class Severity(models.IntegerChoices):
    """How bad it is. A notice is for the console alone; what is worse is sent."""

    NOTICE = 0
    WARNING = 1, "something will not work soon, or for somebody"
    URGENT = 2, "something does not work now"


class OpenAlert(models.Model):
    """A problem that was there when somebody looked last. When it is there no more, its row goes.

    `key` names the condition and what it is about; it is sent once for each row. `facts` go along to programs.
    """

    key = models.CharField(max_length=256, unique=True)
    condition = models.CharField(max_length=64)
    severity = models.PositiveSmallIntegerField(choices=Severity)
    sentence = models.CharField(max_length=300)
    remedy = models.CharField("what to do", max_length=300)
    link = models.CharField(max_length=300, help_text="A path of the console.")
    facts = models.JSONField(default=dict, blank=True)
    opened_at = models.DateTimeField("since")
    seen_at = models.DateTimeField("seen last")
    mailed_at = models.DateTimeField("sent by e-mail", null=True, blank=True)
    posted_at = models.DateTimeField("sent to the webhook", null=True, blank=True)

    class Meta:
        default_permissions = ("view",)
        constraints = [
            models.CheckConstraint(condition=~Q(key="") & ~Q(condition=""), name="alert_is_named"),
            models.CheckConstraint(condition=Q(severity__lte=max(Severity.values)), name="alert_has_a_severity"),
        ]

    def __str__(self) -> str:
        return self.sentence
