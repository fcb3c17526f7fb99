"""Setting and removing budgets: one function per write, each recorded in the audit."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from bedrock_chat.audit import verbs
from bedrock_chat.audit.recording import Change, record
from bedrock_chat.database.compiled_sql import Batch
from bedrock_chat.database.connections import database_now
from bedrock_chat.identity.caller import Actor
from bedrock_chat.jobs import queue
from bedrock_chat.ledger.budgets import amounts, payers, periods, reconciling, statements
from bedrock_chat.ledger.budgets.models import Budget, BudgetCounter, PayerKind, Period, Unit
from bedrock_chat.wire.errors import NotFound

VALUES: Mapping[str, verbs.Check] = {
    "unit": verbs.one_of(lambda: Unit.values),
    "period": verbs.one_of(lambda: Period.values),
    "hard": verbs.flag,
    "limit": verbs.number,
}
SET_BUDGET = verbs.register("set", target="budget", values=VALUES)
REMOVE_BUDGET = verbs.register("remove", target="budget", values=VALUES)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which budget is meant: a payer has one of each unit, period and kind."""

    payer_kind: PayerKind
    payer_id: str
    unit: Unit
    period: Period
    is_hard: bool

    @property
    def columns(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("payer_kind", "payer_id", "unit", "period", "is_hard")}

    def __str__(self) -> str:
        hardness = "hard" if self.is_hard else "soft"
        return f"{hardness} budget of {self.payer_kind} {self.payer_id}, in {Unit(self.unit).label} a {self.period}"


def set_budget(wanted: Wanted, allowance: int, *, actor: Actor) -> Budget:
    """Makes a budget, or changes its allowance, which holds at once for the period that runs.

    A new one counts what was spent before in that period. The ledger is asked for it again when every process knows of
    the budget (`reconciling.begin`).
    """
    with transaction.atomic():
        budget, is_new = Budget.objects.get_or_create(**wanted.columns, defaults={"allowance": allowance})
        before = None if is_new else budget.allowance
        if before != allowance:
            Budget.objects.filter(pk=budget.pk).update(allowance=allowance, changed_at=database_now())
            budget.counters.filter(ends_at__gt=database_now()).update(allowance=allowance)
            budget.allowance = allowance
        if is_new:
            _begin(budget)
        if before != allowance:
            change = Change(None if before is None else _limit(before, wanted), _limit(allowance, wanted))
            record(SET_BUDGET, _target(wanted), actor=actor, values={**_values(wanted), "limit": change})
    payers.forget()
    return budget


def remove_budget(wanted: Wanted, *, actor: Actor) -> None:
    """Removes a budget with its counters. Raises NotFound."""
    with transaction.atomic():
        budget = Budget.objects.select_for_update().filter(**wanted.columns).first()
        if budget is None:
            raise NotFound(f"There is no {wanted}.")
        budget.delete()
        values = {**_values(wanted), "limit": _limit(budget.allowance, wanted)}
        record(REMOVE_BUDGET, _target(wanted), actor=actor, values=values)
    payers.forget()


def listed() -> QuerySet[Budget]:
    """All budgets, by payer."""
    return Budget.objects.order_by("payer_kind", "payer_id", "period", "unit", "is_hard")


def running_counters(of: Iterable[int] | None = None) -> dict[int, BudgetCounter]:
    """Key of a budget → the counter of its period that runs now. A budget of which nothing was used has none.

    `of` are the keys of some budgets; without them it is about all.
    """
    labels = {span.label for span in periods.present(database_now()).values()}
    counters = BudgetCounter.objects.filter(label__in=labels)
    if of is not None:
        counters = counters.filter(budget__in=list(of))
    return {counter.budget_id: counter for counter in counters}


def _begin(budget: Budget) -> None:
    spans = periods.present(database_now())
    with Batch() as batch:
        statements.make_missing(batch, [(budget.payer_kind, budget.payer_id)], spans)
    for counter in budget.counters.all():
        reconciling.compare(counter, repairs=True)
    queue.enqueue(reconciling.BEGIN_KIND, {"budget": budget.pk}, delay=reconciling.BEGIN_SECONDS)


def _target(wanted: Wanted) -> str:
    return f"{wanted.payer_kind}:{wanted.payer_id}"


def _values(wanted: Wanted) -> dict[str, Any]:
    return {"unit": str(wanted.unit), "period": str(wanted.period), "hard": wanted.is_hard}


def _limit(amount: int, wanted: Wanted) -> float | int:
    value = amounts.shown(amount, wanted.unit)
    return value if isinstance(value, int) else float(value)
