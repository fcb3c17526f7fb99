"""How the commands about budgets tell of one."""

from typing import Any

from bedrock_chat.ledger.budgets import amounts
from bedrock_chat.ledger.budgets.models import Budget, BudgetCounter


def document_of(budget: Budget, counter: BudgetCounter | None) -> dict[str, Any]:
    """A budget, and what was used of it in the period that runs. USD are texts, for no digit may be lost."""

    def amount(value: int) -> str | int:
        shown = amounts.shown(value, budget.unit)
        return shown if isinstance(shown, int) else f"{shown:f}"

    return {
        "payer": budget.payer_kind,
        "id": budget.payer_id,
        "unit": budget.unit,
        "period": budget.period,
        "hard": budget.is_hard,
        "limit": amount(budget.allowance),
        "used": amount(counter.used if counter else 0),
        "reserved": amount(counter.reserved if counter else 0),
        "present": counter.label if counter else None,
        "differsFromLedger": amount(counter.difference if counter else 0),
    }


def line_of(budget: Budget, counter: BudgetCounter | None) -> str:
    """The same as a line."""
    hardness = "hard" if budget.is_hard else "soft"
    used, reserved = (counter.used, counter.reserved) if counter else (0, 0)
    parts = [f"{amounts.sentence(used, budget.unit)} used"]
    if reserved:
        parts.append(f"{amounts.sentence(reserved, budget.unit)} reserved")
    if counter and counter.difference:
        parts.append(f"the ledger differs by {amounts.sentence(counter.difference, budget.unit)}")
    limit = amounts.sentence(budget.allowance, budget.unit)
    return f"{budget.payer_kind} {budget.payer_id}: {limit} a {budget.period}, {hardness}; {', '.join(parts)}"
