"""How the commands about budgets print: sentences, or with `--json` one document, alone on stdout."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.utils import OperationalError, ProgrammingError

from bedrock_chat.ledger.budgets import amounts
from bedrock_chat.ledger.budgets.models import Budget, BudgetCounter
from bedrock_chat.wire.errors import ApiError


class BudgetCommand(BaseCommand):
    """A command about budgets. Its exit code is 0 when all is well, 1 for a refusal, 2 for wrong arguments."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON document instead of sentences")

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Django's. What the product refuses is one sentence on stderr."""
        try:
            return super().execute(*args, **options)
        except ApiError as error:
            raise CommandError(str(error.detail)) from None
        except (OperationalError, ProgrammingError) as error:
            raise CommandError(f"The database cannot be asked: {str(error).partition(chr(10))[0]}") from None

    def print(self, document: Any, sentences: list[str], *, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps(document, ensure_ascii=False, indent=1))
        else:
            for sentence in sentences:
                self.stdout.write(sentence)


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
