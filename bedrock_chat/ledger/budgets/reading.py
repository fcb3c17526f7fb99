"""What a person may still spend, and what they have used this month."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db.models import Count, Q, Sum

from bedrock_chat.database.connections import database_now
from bedrock_chat.identity.caller import Caller
from bedrock_chat.ledger.budgets import payers, periods
from bedrock_chat.ledger.budgets.models import Budget, BudgetCounter, PayerKind, Period
from bedrock_chat.ledger.budgets.periods import Span
from bedrock_chat.ledger.budgets.reconciling import usd_used
from bedrock_chat.ledger.models import ModelCall

MOST_PAIRS: Final = 1_000
"""Pairs of a model and a bot that are told of, the dearest first."""
TOKENS: Final = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")


@dataclass(frozen=True, slots=True)
class Standing:
    """How a budget stands in the period that runs. Amounts are in its unit's whole numbers."""

    budget: Budget
    span: Span
    used: int
    reserved: int

    @property
    def remaining(self) -> int:
        return max(0, self.budget.allowance - self.used)

    @property
    def is_exceeded(self) -> bool:
        return self.used >= self.budget.allowance


@dataclass(slots=True)
class Used:
    """What some calls used. `usd` are ten-billionths; calls without a price are not in it."""

    calls: int = 0
    unpriced_calls: int = 0
    usd: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0

    def add(self, row: dict[str, Any]) -> None:
        for name in (*TOKENS, "calls", "unpriced_calls", "usd"):
            setattr(self, name, getattr(self, name) + row[name])


@dataclass(frozen=True, slots=True)
class Spending:
    """What the caller may still spend, and what they used in the month that runs, by model and by bot."""

    budgets: list[Standing]
    month: Span
    now: datetime
    total: Used
    by_model: dict[str, Used]
    by_bot: dict[str | None, Used]


def spending_of(actor: Caller) -> Spending:
    """Three queries. Budgets are the caller's and their groups'. The calls that count are those that they pay for."""
    now = database_now()
    spans = periods.present(now)
    total, by_model, by_bot = Used(), dict[str, Used](), dict[str | None, Used]()
    for row in _used(actor, spans[Period.MONTH]):
        for used in (
            total,
            by_model.setdefault(row["model"], Used()),
            by_bot.setdefault(row["bot_id"], Used()),
        ):
            used.add(row)
    return Spending(_standings(actor, spans), spans[Period.MONTH], now, total, by_model, by_bot)


def _standings(actor: Caller, spans: Any) -> list[Standing]:
    groups = [payer_id for kind, payer_id in payers.payers_of(actor, None) if kind == PayerKind.GROUP]
    of = Q(payer_kind=PayerKind.USER, payer_id=actor.payer_id) | Q(payer_kind=PayerKind.GROUP, payer_id__in=groups)
    budgets = list(Budget.objects.filter(of).order_by("-payer_kind", "payer_id", "period", "unit", "is_hard"))
    labels = [span.label for span in spans.values()]
    running = BudgetCounter.objects.filter(budget__in=[budget.pk for budget in budgets], label__in=labels)
    counters = {counter.budget_id: counter for counter in running} if budgets else {}
    return [
        Standing(
            budget,
            spans[Period(budget.period)],
            counters[budget.pk].used if budget.pk in counters else 0,
            counters[budget.pk].reserved if budget.pk in counters else 0,
        )
        for budget in budgets
    ]


def _used(actor: Caller, month: Span) -> list[dict[str, Any]]:
    """Pairs of model and bot, and what was used of them in a month, in one query by the index of payers."""
    calls = ModelCall.objects.filter(payer_id=actor.payer_id, created_at__gte=month.starts_at)
    sums = {name: Sum(name) for name in TOKENS}
    counts = {"calls": Count("pk"), "unpriced_calls": Count("pk", filter=Q(price__isnull=True, fault=""))}
    rows = calls.values("model", "bot_id").annotate(**sums, **counts, usd=usd_used())
    return [dict(row) for row in rows.order_by("-usd", "model", "bot_id")[:MOST_PAIRS]]
