"""`manage.py rotate_api_key KEY --overlap 24h`: a new key in the place of another."""

from datetime import timedelta
from typing import Any

from django.core.management.base import CommandParser

from bedrock_chat.identity.caller import Program
from bedrock_chat.management.printing import PrintingCommand
from publication import operating
from publication.management.arguments import add_overlap
from publication.management.printing import day_and_time, iso, shown_document, value_sentence


class Command(PrintingCommand):
    help = (
        "Makes a key in the place of another and prints its value. The new one works at once, the old one until the "
        "overlap ends, and both draw on one quota. Called twice, it prints the key that the first call made, and the "
        "old one still ends when that call has said: to end it sooner, revoke it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("key", help="the id of the old key, as list_api_keys shows it")
        add_overlap(parser)

    def handle(self, *args: Any, key: str, overlap: timedelta, json: bool, **options: Any) -> None:
        made = operating.rotate(key, overlap, actor=Program.command("rotate_api_key"))
        how = "is in the place of" if made.is_new else "was there already, in the place of"
        old = f"{key}, which ends {day_and_time(made.ends_at)}"
        sentences = [f"{made.shown.key.pk} {how} {old}:", value_sentence(made.shown)]
        document = shown_document(made.shown, rotated=made.is_new, oldExpiresAt=iso(made.ends_at))
        self.print(document, sentences, as_json=json)
