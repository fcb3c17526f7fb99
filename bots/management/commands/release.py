"""`manage.py release user SUB`: ends a hold."""

from typing import Any

from django.core.management.base import CommandParser

from bedrock_chat.identity.caller import Program
from bedrock_chat.management.printing import PrintingCommand
from bedrock_chat.retention import holds
from bots.holds import release_bot


class Command(PrintingCommand):
    help = "Ends the hold on a person or a bot. What is too old by now goes with the next pruning."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("kind", choices=["user", "bot"])
        parser.add_argument("id", help="the user's `sub`, or the bot's id")

    def handle(self, *args: Any, kind: str, json: bool, **options: Any) -> None:
        lift = holds.release_person if kind == "user" else release_bot
        lift(options["id"], actor=Program.command("release"))
        self.print({"released": options["id"]}, [f"The {kind} {options['id']} is not on hold any more."], as_json=json)
