"""Holds on people and bots, and how long conversations with one bot are kept."""

from django.db import models
from django.db.models import Q

from bedrock_chat.database.fields import CodePointCharField

TARGET_LENGTH = 128
LONGEST_REASON = 300
MOST_DAYS = 36_500


class HoldKind(models.TextChoices):
    PERSON = "person"
    BOT = "bot"


class Hold(models.Model):
    """Somebody or something whose data operators keep, whatever the policies say (`holds`).

    By value: a bot may be gone, and its conversations are still there. `reason` is read by operators and Admin alone.
    """

    kind = models.CharField(max_length=6, choices=HoldKind)
    target_id = CodePointCharField(max_length=TARGET_LENGTH, help_text="The user's or the bot's id.")
    reason = models.TextField(max_length=LONGEST_REASON)
    placed_at = models.DateTimeField()

    class Meta:
        default_permissions = ("view", "change")
        constraints = [
            models.UniqueConstraint(fields=["kind", "target_id"], name="one_hold_of_a_target"),
            models.CheckConstraint(condition=Q(kind__in=HoldKind.values), name="hold_is_on_a_person_or_a_bot"),
            models.CheckConstraint(condition=~Q(target_id="") & ~Q(reason=""), name="hold_has_a_target_and_a_reason"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.target_id}"


class BotRetention(models.Model):
    """How many days conversations with a bot are kept after their last change, in place of the setting RETENTION_DAYS.

    Without `days` they are kept for ever. By value: the policy outlives its bot, as conversations do.
    """

    bot_id = CodePointCharField(primary_key=True, max_length=TARGET_LENGTH)
    days = models.PositiveIntegerField(null=True, blank=True)

    class Meta:
        default_permissions = ("view", "change")
        constraints = [
            models.CheckConstraint(
                condition=Q(days__isnull=True) | Q(days__gte=1, days__lte=MOST_DAYS), name="bot_retention_is_some_days"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.bot_id}: {'for ever' if self.days is None else f'{self.days} days'}"
