"""The condition of alerts about budgets: used up, or near their end."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from django.db.models import F, FloatField
from django.db.models.functions import Cast
from django.urls import reverse

from bedrock_chat.alerts import opening
from bedrock_chat.alerts.conditions import MOST, Problem
from bedrock_chat.alerts.models import Severity
from bedrock_chat.database.connections import database_now
from bedrock_chat.ledger import zones
from bedrock_chat.ledger.budgets import amounts
from bedrock_chat.ledger.budgets.models import BudgetCounter
from bedrock_chat.ledger.budgets.statements import Counted

CONDITION: Final = "budgets"
LAST_PART: Final = 10
"""The console tells of a budget whose last tenth is begun."""


def note(counters: Iterable[Counted]) -> None:
    """Opens the alerts of soft budgets that are used up, in the transaction that counted it. Once a period."""
    for counter in counters:
        if counter.is_hard or counter.used < counter.allowance or counter.alerted_at is not None:
            continue
        untold = BudgetCounter.objects.filter(pk=counter.pk, alerted_at__isnull=True)
        if untold.update(alerted_at=database_now()):
            opening.open_alerts(CONDITION, [_problem(BudgetCounter.objects.get(pk=counter.pk))])


def problems() -> Iterator[Problem]:
    """The budgets whose period runs now and that are used up, or nearly: soft ones first, and those furthest gone."""
    running = BudgetCounter.objects.filter(ends_at__gt=database_now(), allowance__gt=0)
    counters = running.filter(used__gte=F("allowance") - F("allowance") / LAST_PART)  # never beyond 64 bits
    furthest = Cast("used", FloatField()) / Cast("allowance", FloatField())
    yield from map(_problem, counters.order_by("is_hard", furthest.desc(), "pk")[:MOST])


def _problem(counter: BudgetCounter) -> Problem:
    """A soft budget that is used up is sent. A hard one does what it is for, and is told in the console alone."""
    is_used_up = counter.used >= counter.allowance
    limit = amounts.sentence(counter.allowance, counter.unit)
    used = amounts.sentence(counter.used, counter.unit)
    whose = f"{counter.payer_kind} {counter.payer_id}"
    state = "is used up" if is_used_up else "is nearly used up"
    effect = "further calls are refused" if counter.is_hard else "it is a soft budget, so nothing is refused"
    return Problem(
        subject=f"{counter.pk}:{'end' if is_used_up else 'near'}",
        severity=Severity.WARNING if is_used_up and not counter.is_hard else Severity.NOTICE,
        sentence=f"The budget of {whose} {state}: {used} of {limit} a {counter.period}.",
        remedy=f"Raise it, or wait: it begins anew at {zones.written(counter.ends_at)}"
        + (f", and until then {effect}." if is_used_up else "."),
        link=reverse("admin:bedrock_chat_budget_change", args=(counter.budget_id,)),
        facts=_facts(counter),
    )


def _facts(counter: BudgetCounter) -> dict[str, Any]:
    """For programs. Amounts are texts: no digit may be lost."""
    return {
        "payer": counter.payer_kind,
        "id": counter.payer_id,
        "unit": counter.unit,
        "period": counter.label,
        "limit": amounts.plain(counter.allowance, counter.unit),
        "used": amounts.plain(counter.used, counter.unit),
        "endsAt": counter.ends_at.isoformat(),
    }
