"""`manage.py create_api_key BOT DESCRIPTION`: a key of a published bot."""

from datetime import datetime
from typing import Any

from django.core.management.base import CommandParser

from bedrock_chat.identity.caller import Program
from bedrock_chat.management.printing import PrintingCommand
from publication import operating
from publication.management.arguments import description, later
from publication.management.printing import day_and_time, shown_document, value_sentence


class Command(PrintingCommand):
    help = (
        "Makes a key of a published bot and prints its value. Where a key of that description works already, it prints "
        "that one and makes none, so it may be called twice."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("bot", help="the id of the bot")
        parser.add_argument("description", type=description, help="what the key is for; it names it")
        parser.add_argument("--expires", type=later, metavar="TIME", help="when it ends, such as 2027-01-31")

    def handle(
        self, *args: Any, bot: str, description: str, expires: datetime | None, json: bool, **options: Any
    ) -> None:
        made = operating.create(bot, description, expires, actor=Program.command("create_api_key"))
        end = made.shown.key.expires_at
        is_there = "is new" if made.is_new else "was there already"
        sentence = f"{made.shown.key.pk} {is_there}{'' if end is None else f', ends {day_and_time(end)}'}:"
        self.print(
            shown_document(made.shown, created=made.is_new), [sentence, value_sentence(made.shown)], as_json=json
        )
