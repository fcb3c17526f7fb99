"""`manage.py rotate_api_keys --older-than 90d --bot BOT --dry-run`: new keys in the place of all old ones."""

from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser

from bedrock_chat.identity.caller import Program
from bedrock_chat.management.printing import PrintingCommand
from publication import operating
from publication.management.arguments import add_overlap, length_of_time
from publication.management.printing import day_and_time, key_document, shown_document
from publication.operating import Rotated


class Command(PrintingCommand):
    help = (
        "Makes new keys in the place of those that are older than some time. Keys that were replaced, disabled or have "
        "expired are left alone, so it may be called twice, and goes on where it was interrupted. Owners read the new "
        "values over the API; --json prints them, except where no copy is kept. A key that cannot be rotated is named "
        "at the end, with exit code 1; the others are done."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--older-than", type=length_of_time, required=True, metavar="TIME", help="such as 90d")
        parser.add_argument("--bot", metavar="BOT", action="append", default=[], help="of this bot; may be repeated")
        add_overlap(parser)
        parser.add_argument("--dry-run", action="store_true", help="only say which")

    def handle(
        self,
        *args: Any,
        older_than: timedelta,
        bot: list[str],
        overlap: timedelta,
        dry_run: bool,
        json: bool,
        **options: Any,
    ) -> None:
        actor = Program.command("rotate_api_keys")
        rotated: list[Rotated] = []
        try:
            for one in operating.rotate_older(older_than, bot, overlap, is_rehearsal=dry_run, actor=actor):
                rotated.append(one)
                if not json:
                    self.stdout.write(_sentence(one))
        finally:  # interrupted, it still tells the values of the keys that it made
            refused = [one for one in rotated if one.refusal]
            done = f"{len(rotated) - len(refused)} keys {'would be' if dry_run else 'were'} rotated."
            self.print([_document(one) for one in rotated], [done], as_json=json)
        if refused:
            raise CommandError(f"{len(refused)} keys could not be rotated; nothing of them was changed.")


def _document(one: Rotated) -> dict[str, Any]:
    return {
        "old": key_document(one.key),
        "new": None if one.shown is None else shown_document(one.shown),
        "refusal": one.refusal or None,
    }


def _sentence(one: Rotated) -> str:
    key = f"{one.key.pk} of {one.key.publication}, made {day_and_time(one.key.created_at)}"
    if one.refusal:
        return f"{key}: {one.refusal}"
    return f"{key}, would be replaced" if one.shown is None else f"{key}, is replaced by {one.shown.key.pk}"
