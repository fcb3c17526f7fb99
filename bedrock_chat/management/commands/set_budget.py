"""`manage.py set_budget user ID --usd 20 --per month`: how much somebody may spend."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from bedrock_chat.database.text import is_storable
from bedrock_chat.identity.caller import Program
from bedrock_chat.ledger.budgets import amounts, setting
from bedrock_chat.ledger.budgets.models import PayerKind, Period, Unit
from bedrock_chat.ledger.budgets.printing import document_of, line_of
from bedrock_chat.ledger.budgets.setting import Wanted
from bedrock_chat.management.printing import PrintingCommand

LONGEST_ID = 256


class Command(PrintingCommand):
    help = (
        "Sets how much a user, a group, a bot or a key may spend in each period, or changes it. A hard budget refuses "
        "what comes after; with --soft it only tells of it. Called twice, it changes nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("payer", choices=PayerKind.values, help="whose spending")
        parser.add_argument("id", help="the user's, the bot's or the key's id, or the group's name")
        amount = parser.add_mutually_exclusive_group(required=True)
        amount.add_argument("--usd", metavar="AMOUNT", help="how many US dollars, such as 20 or 0.50")
        amount.add_argument("--tokens", metavar="NUMBER", help="how many tokens of all kinds")
        amount.add_argument("--remove", choices=Unit.values, metavar="UNIT", help="remove the budget in usd or tokens")
        parser.add_argument("--per", choices=Period.values, required=True, help="when it begins anew")
        parser.add_argument("--soft", action="store_true", help="tell of it, and refuse nothing")

    def handle(self, *args: Any, json: bool, **options: Any) -> None:
        payer_id = options["id"]
        if not payer_id or len(payer_id) > LONGEST_ID or not is_storable(payer_id):
            raise CommandError(f"The id has 1 to {LONGEST_ID} characters.", returncode=2)
        unit = Unit(options["remove"] or (Unit.USD if options["usd"] is not None else Unit.TOKENS))
        kind, period = PayerKind(options["payer"]), Period(options["per"])
        wanted = Wanted(kind, payer_id, unit, period, not options["soft"])
        actor = Program.command("set_budget")
        if options["remove"]:
            setting.remove_budget(wanted, actor=actor)
            self.print({"removed": str(wanted)}, [f"Removed: {wanted}."], as_json=json)
            return
        text = options["usd"] if unit == Unit.USD else options["tokens"]
        try:
            allowance = amounts.parsed(text, unit)
        except ValueError as error:
            raise CommandError(f"--{unit}: {error}, not {text!r}.", returncode=2) from None
        budget = setting.set_budget(wanted, allowance, actor=actor)
        counter = setting.running_counters().get(budget.pk)
        self.print(document_of(budget, counter), [line_of(budget, counter)], as_json=json)
