"""Budgets, what was used of them in each period, and what open calls have reserved."""

from django.db import models
from django.db.models import F, Q


class PayerKind(models.TextChoices):
    """Whose spending a budget bounds."""

    USER = "user"
    GROUP = "group"
    BOT = "bot"
    KEY = "key"


class Unit(models.TextChoices):
    USD = "usd", "USD"
    TOKENS = "tokens"


class Period(models.TextChoices):
    """How often a budget begins anew, in the setting REPORT_TIME_ZONE. Weeks begin on Monday."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class Budget(models.Model):
    """How much a payer may spend in each period. A hard budget refuses what comes after, a soft one tells of it.

    Amounts are whole numbers: tokens, or ten-billionths of a USD (`amounts`). The payer is named by value, for it may
    not be there yet.
    """

    payer_kind = models.CharField(max_length=8, choices=PayerKind)
    payer_id = models.CharField(max_length=256)
    unit = models.CharField(max_length=8, choices=Unit)
    period = models.CharField(max_length=8, choices=Period)
    is_hard = models.BooleanField("hard", default=True)
    allowance = models.BigIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        default_permissions = ("view", "change")
        constraints = [
            models.UniqueConstraint(
                fields=["payer_kind", "payer_id", "unit", "period", "is_hard"], name="one_budget_of_a_kind"
            ),
            models.CheckConstraint(condition=Q(allowance__gte=0), name="budget_not_negative"),
            models.CheckConstraint(
                condition=Q(payer_kind__in=PayerKind.values, unit__in=Unit.values, period__in=Period.values),
                name="budget_of_a_known_kind",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.payer_kind} {self.payer_id}, {self.unit} a {self.period}"


class BudgetCounter(models.Model):
    """What was used of a budget in one period, and what open calls have reserved of it.

    It repeats what its budget says, as it was in that period, so that one statement on this table alone admits a call.
    `label` names the period: `2026-11-29`, `2026-W48` or `2026-11`. `difference` is what the ledger has more than
    `used`, when they were last compared.
    """

    budget = models.ForeignKey(Budget, on_delete=models.CASCADE, related_name="counters")
    label = models.CharField("period", max_length=10)
    ends_at = models.DateTimeField()
    payer_kind = models.CharField(max_length=8, choices=PayerKind)
    payer_id = models.CharField(max_length=256)
    unit = models.CharField(max_length=8, choices=Unit)
    period = models.CharField("length", max_length=8, choices=Period)
    is_hard = models.BooleanField("hard")
    allowance = models.BigIntegerField()
    used = models.BigIntegerField(default=0)
    reserved = models.BigIntegerField(default=0)
    alerted_at = models.DateTimeField(null=True, blank=True)
    compared_at = models.DateTimeField(null=True, blank=True)
    difference = models.BigIntegerField(default=0)

    class Meta:
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint(fields=["budget", "label"], name="one_counter_a_period"),
            models.CheckConstraint(condition=Q(used__gte=0, reserved__gte=0), name="counter_not_negative"),
        ]
        indexes = [
            models.Index(F("payer_kind"), F("payer_id"), F("label"), name="counters_of_a_payer"),
            models.Index(fields=["ends_at"], name="counters_by_end"),
        ]

    def __str__(self) -> str:
        return f"{self.payer_kind} {self.payer_id}, {self.label}"


class Reservation(models.Model):
    """What an open call has reserved, of which counters. Its process moves `expires_at` on for as long as it lives.

    `counters` are keys, separated by commas. They are no foreign keys: a budget may be removed while a call is open.
    """

    counters = models.TextField()
    usd = models.BigIntegerField()
    tokens = models.BigIntegerField()
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        default_permissions = ("view",)
        constraints = [
            models.CheckConstraint(condition=Q(usd__gte=0, tokens__gte=0), name="reservation_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.usd} and {self.tokens} of {self.counters}"
