"""`manage.py export_conversations`: conversations as JSON lines, with feedback, cost and model."""

import sys
from argparse import ArgumentParser
from datetime import date
from pathlib import Path
from typing import Any, BinaryIO

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from bedrock_chat.identity.caller import Program
from conversations.operating import exporting, exports
from conversations.operating.exporting import Filters

TELL_EVERY = 1_000
"""Conversations."""


class Command(BaseCommand):
    help = "Writes conversations as JSON lines, the oldest first: what was said, feedback, cost and model."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--bot", default="", help="only those with this bot")
        parser.add_argument("--user", default="", help="only this person's: the `sub` of their tokens")
        parser.add_argument("--publication", default="", help="only those of this published API")
        parser.add_argument(
            "--from", dest="first", type=date.fromisoformat, help="the day on which they begin, at least"
        )
        parser.add_argument("--until", dest="last", type=date.fromisoformat, help="the last such day, included")
        parser.add_argument("--to", type=Path, help="a new file (default: standard output)")

    def handle(self, *args: Any, to: Path | None, first: date | None, last: date | None, **options: Any) -> None:
        if (first is None) != (last is None) or (first is not None and last is not None and first > last):
            raise CommandError("Give both --from and --until, in this order, or neither.")
        filters = Filters(options["bot"], options["user"], options["publication"], first, last)
        try:
            if to is None:
                self._write(filters, sys.stdout.buffer)
            else:
                with to.open("xb") as lines:
                    self._write(filters, lines)
        except OSError as error:
            raise CommandError(str(error)) from None

    def _write(self, filters: Filters, lines: BinaryIO) -> None:
        with transaction.atomic():
            exports.record_export("all", filters, actor=Program.command("export_conversations"))
        keys, done = filters.keys(), 0
        for piece in exporting.pieces(filters, keys):
            lines.write(piece.data)
            done += bool(piece.key)
            if piece.key and done % TELL_EVERY == 0:
                share = (piece.key + 1 - keys.first) / (keys.last + 1 - keys.first)
                self.stderr.write(f"{done:,} conversations, {share:.0%}")
        self.stderr.write(f"{done:,} conversations, done")
