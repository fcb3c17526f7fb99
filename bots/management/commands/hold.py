"""`manage.py hold user SUB --reason …`: nothing of a person or a bot is pruned or erased for now."""

from typing import Any

from django.core.management.base import CommandParser

from bedrock_chat.identity.caller import Program
from bedrock_chat.management.printing import PrintingCommand
from bedrock_chat.retention import holds
from bots.holds import hold_bot


class Command(PrintingCommand):
    help = (
        "Puts a person or a bot on hold: their conversations and calls are not pruned, and nobody erases them. What "
        "people delete themselves goes all the same. Called again, it changes the reason."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("kind", choices=["user", "bot"])
        parser.add_argument("id", help="the user's `sub`, or the bot's id")
        parser.add_argument("--reason", required=True, help="why, for those whom it stops; up to 300 characters")

    def handle(self, *args: Any, kind: str, reason: str, json: bool, **options: Any) -> None:
        place = holds.hold_person if kind == "user" else hold_bot
        hold = place(options["id"], reason=reason, actor=Program.command("hold"))
        document = {"kind": kind, "id": hold.target_id, "reason": hold.reason, "placedAt": hold.placed_at.isoformat()}
        self.print(document, [f"The {kind} {hold.target_id} is on hold: {hold.reason}"], as_json=json)
