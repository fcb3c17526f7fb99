"""`manage.py set_retention BOT --days 30`: how long conversations with a bot are kept."""

from typing import Any

from django.core.management.base import CommandParser

from bedrock_chat.identity.caller import Program
from bedrock_chat.management.printing import PrintingCommand
from bots import holds


class Command(PrintingCommand):
    help = "Sets how long conversations with a bot are kept after their last change, in place of RETENTION_DAYS."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("bot", help="the bot's id; the bot may be deleted")
        length = parser.add_mutually_exclusive_group(required=True)
        length.add_argument("--days", type=int, help="so many days")
        length.add_argument("--keep", action="store_true", help="for ever")
        length.add_argument("--remove", action="store_true", help="as RETENTION_DAYS says, again")

    def handle(self, *args: Any, bot: str, days: int | None, remove: bool, json: bool, **options: Any) -> None:
        actor = Program.command("set_retention")
        if remove:
            holds.remove_retention(bot, actor=actor)
            sentence = "are kept as RETENTION_DAYS says"
        else:
            holds.set_retention(bot, days, actor=actor)
            sentence = "are kept for ever" if days is None else f"are kept for {days} days"
        self.print(
            {"bot": bot, "days": days, "removed": remove}, [f"Conversations with {bot} {sentence}."], as_json=json
        )
