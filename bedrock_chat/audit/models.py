"""Who did what to which bot, key or person, when, and from where."""

from datetime import datetime
from typing import Any, ClassVar, NoReturn, Self

from django.db import models

from bedrock_chat.audit.verbs import LONGEST_NAME, kept_id
from bedrock_chat.database.keys_by_time import OUT_OF_ORDER, first_key_since


class AppendOnly(TypeError):
    """An entry is written once, by `recording.record`, and leaves by `expiring.expire`."""


class ActorKind(models.TextChoices):
    """Who acts. The id beside it is a user's, a key's, or the name of a command or a kind of job."""

    USER = "user"
    OPERATOR = "operator"
    KEY = "key"
    COMMAND = "command"
    JOB = "job"


class AuditEntryQuerySet(models.QuerySet["AuditEntry"]):
    """Entries can be looked for. Every way of Django's to write or to delete some raises AppendOnly."""

    def about(self, target_kind: str, target_id: str) -> Self:
        """The entries about one target."""
        return self.filter(target_kind=target_kind, target_id=kept_id(target_id))

    def since(self, moment: datetime) -> Self:
        """The entries from a time on. There is no index by time: keys ascend with it, so they are searched."""
        first_key = first_key_since(self.model.objects.all(), "at", moment - OUT_OF_ORDER)
        return self.filter(pk__gte=first_key, at__gte=moment)

    def delete(self) -> NoReturn:
        raise AppendOnly

    def update(self, **columns: Any) -> NoReturn:
        raise AppendOnly

    def bulk_create(self, *args: Any, **options: Any) -> NoReturn:
        raise AppendOnly


class AuditEntry(models.Model):
    """One write. It holds no name, address or text of anybody, so that it can stay when a person is erased.

    Everything is kept by value: the target, and who acted, may be gone. `fields` names what was changed. `values` has
    those values that the verb allows (`audit.verbs`), one that was changed as `{"before": …, "after": …}`.
    `request_id` and `network` say from where a request came. They are empty for commands and jobs.
    """

    at = models.DateTimeField()
    verb = models.CharField(max_length=LONGEST_NAME)
    target_kind = models.CharField("target", max_length=LONGEST_NAME)
    target_id = models.CharField(max_length=200)
    actor_kind = models.CharField("actor", max_length=8, choices=ActorKind)
    actor_id = models.CharField(max_length=200)
    fields = models.JSONField(default=list)
    values = models.JSONField(default=dict)
    version_before = models.PositiveIntegerField(null=True)
    version_after = models.PositiveIntegerField(null=True)
    request_id = models.CharField(max_length=64, default="", blank=True)
    network = models.CharField(max_length=64, default="", blank=True)

    objects: ClassVar[models.Manager["AuditEntry"]] = AuditEntryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "audit entries"
        default_permissions = ("view",)
        permissions = [("export_auditentry", "Can export the audit")]
        # None by time: later entries have higher keys.
        indexes = [
            models.Index(fields=["target_id"], name="entries_about_a_target"),
            models.Index(fields=["actor_id"], name="entries_of_an_actor"),
            # Of the few entries that tell how far the audit has expired: each deletion looks for one (`append_only`).
            models.Index(
                fields=["id"],
                name="expiries_of_the_audit",
                condition=models.Q(target_kind="audit", verb="expire"),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.verb} {self.target_kind} {self.target_id}"

    def save(self, *args: Any, **options: Any) -> NoReturn:
        raise AppendOnly

    def delete(self, *args: Any, **options: Any) -> NoReturn:
        raise AppendOnly
