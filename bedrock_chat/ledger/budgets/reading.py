"""What a person may still spend, and what they have used this month."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from django.db.models import Q

from bedrock_chat.database.connections import database_now
from bedrock_chat.identity.caller import Caller
from bedrock_chat.ledger import zones
from bedrock_chat.ledger.budgets import payers, periods
from bedrock_chat.ledger.budgets.models import Budget, BudgetCounter, PayerKind, Period
from bedrock_chat.ledger.budgets.periods import Span
from bedrock_chat.ledger.rollups.figures import Figures, dearest_first
from bedrock_chat.ledger.rollups.reading import usage_of_payer


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


@dataclass(frozen=True, slots=True)
class Spending:
    """What the caller may still spend, and what they used in the month that runs, by model and by bot."""

    budgets: list[Standing]
    month: Span
    total: Figures
    by_model: list[tuple[str, Figures]]
    by_bot: list[tuple[str, Figures]]
    """The dearest first. A bot without an id stands for conversations without one."""


def spending_of(actor: Caller) -> Spending:
    """Budgets are the caller's and their groups'. The calls that count are those that they pay for."""
    spans = periods.present(database_now())
    month = spans[Period.MONTH]
    usage = usage_of_payer(zones.Span(month.starts_at, month.ends_at), actor.payer_id or "")
    by_model, by_bot = defaultdict[str, list[Figures]](list), defaultdict[str, list[Figures]](list)
    for (model, bot_id), figures in usage.items():
        by_model[model].append(figures)
        by_bot[bot_id].append(figures)
    return Spending(
        budgets=_standings(actor, spans),
        month=month,
        total=Figures.total(usage.values()),
        by_model=_ranked(by_model),
        by_bot=_ranked(by_bot),
    )


def _ranked(by_value: Mapping[str, list[Figures]]) -> list[tuple[str, Figures]]:
    return dearest_first({value: Figures.total(parts) for value, parts in by_value.items()})


def _standings(actor: Caller, spans: Mapping[Period, Span]) -> list[Standing]:
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
