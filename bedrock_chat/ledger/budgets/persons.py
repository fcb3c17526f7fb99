"""A person's own budgets: exported with their other data, and removed when they are erased."""

import json
from collections.abc import Iterator
from pathlib import Path

from bedrock_chat.alerts.models import OpenAlert
from bedrock_chat.identity.caller import Actor
from bedrock_chat.ledger.budgets import alerting, amounts, payers
from bedrock_chat.ledger.budgets.models import Budget, BudgetCounter, PayerKind


def export(user_id: str, folder: Path) -> Iterator[str]:
    """Writes `budgets.jsonl`: how much they may spend, and what they used in each period."""
    written = 0
    counters = BudgetCounter.objects.filter(payer_kind=PayerKind.USER, payer_id=user_id)
    with (folder / "budgets.jsonl").open("w", encoding="utf-8") as lines:
        for counter in counters.order_by("pk").iterator(chunk_size=200):
            line = {
                "period": counter.label,
                "unit": counter.unit,
                "hard": counter.is_hard,
                "limit": str(amounts.shown(counter.allowance, counter.unit)),
                "used": str(amounts.shown(counter.used, counter.unit)),
            }
            lines.write(json.dumps(line) + "\n")
            written += 1
    yield f"{written} periods of budgets"


def prepare_erasing(user_id: str, *, actor: Actor) -> Iterator[str]:
    """Does nothing: there are few rows."""
    yield from ()


def finish_erasing(user_id: str, *, actor: Actor) -> Iterator[str]:
    """Removes their budgets. Those of groups, bots and keys keep what the person used of them."""
    budgets = Budget.objects.filter(payer_kind=PayerKind.USER, payer_id=user_id)
    count = budgets.count()
    budgets.delete()
    payers.forget()
    OpenAlert.objects.filter(condition=alerting.CONDITION, facts__payer=PayerKind.USER, facts__id=user_id).delete()
    yield f"{count} budgets were removed."
