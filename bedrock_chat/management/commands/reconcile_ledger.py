"""`manage.py reconcile_ledger`: holds what was used of budgets against the ledger."""

import sys
from typing import Any

from django.core.management.base import CommandParser

from bedrock_chat.ledger.budgets import amounts, reconciling
from bedrock_chat.management.printing import PrintingCommand


class Command(PrintingCommand):
    help = (
        "Holds what was used of budgets against the ledger, and says where they differ. Its exit code is 1 if any does "
        "and was not corrected."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--repair", action="store_true", help="have the budgets say what the ledger says")

    def handle(self, *args: Any, json: bool, repair: bool, **options: Any) -> None:
        compared = list(reconciling.compare_all(repairs=repair))
        differing = [one for one in compared if one.difference]
        documents = [
            {
                "payer": one.counter.payer_kind,
                "id": one.counter.payer_id,
                "period": one.counter.label,
                "unit": one.counter.unit,
                "ledgerHasMore": str(amounts.shown(one.difference, one.counter.unit)),
            }
            for one in differing
        ]
        lines = [
            f"{one.counter}: the ledger has {amounts.sentence(one.difference, one.counter.unit)} more than was counted"
            for one in differing
        ]
        end = "were corrected" if repair else "differ"
        lines.append(f"{len(compared)} counters were compared with the ledger; {len(differing)} {end}.")
        self.print({"compared": len(compared), "differing": documents, "repaired": repair}, lines, as_json=json)
        if differing and not repair:
            sys.exit(1)
