"""`manage.py budgets`: all budgets, and what was used of them in the periods that run."""

from typing import Any

from django.core.management.base import CommandParser

from bedrock_chat.ledger.budgets import setting
from bedrock_chat.ledger.budgets.models import PayerKind
from bedrock_chat.ledger.budgets.printing import document_of, line_of
from bedrock_chat.management.printing import PrintingCommand


class Command(PrintingCommand):
    help = "Lists the budgets, and what was used of them in the periods that run."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--payer", choices=PayerKind.values, help="those of users, groups, bots or keys alone")
        parser.add_argument("--id", help="those of one of them alone")

    def handle(self, *args: Any, json: bool, payer: str | None, **options: Any) -> None:
        budgets = setting.listed()
        if payer is not None:
            budgets = budgets.filter(payer_kind=payer)
        if options["id"] is not None:
            budgets = budgets.filter(payer_id=options["id"])
        counters = setting.running_counters()
        rows = [(budget, counters.get(budget.pk)) for budget in budgets]
        lines = [line_of(*row) for row in rows] or ["There are no such budgets."]
        self.print([document_of(*row) for row in rows], lines, as_json=json)
