"""`manage.py rebuild_search`: indexes everything anew, conversations first, then bots.

Meanwhile searches use what was indexed before.
"""

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from bedrock_chat.search import index
from conversations.models import Conversation
from conversations.search import indexing
from store import indexing as store_indexing

AT_ONCE = 50
REPORT_EVERY = 2.0  # seconds


class Command(BaseCommand):
    help = (
        "Indexes all conversations and bots anew, and tells how far it is. Searches find meanwhile what was indexed "
        "before. Several may run at once. Interrupted, it goes on with --resume; so does any worker, by itself."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--resume", action="store_true", help="Goes on with a rebuild instead of beginning one.")

    def handle(self, *args: Any, **options: Any) -> None:
        if not options["resume"]:
            indexing.index_everything_anew()
            store_indexing.index_everything_anew()
        total = self._left()
        self.stdout.write(f"{total:,} conversations")
        try:
            self._index(total)
            bots = self._index_bots()
        except KeyboardInterrupt:
            left = f"Interrupted; {self._left():,} conversations are left. --resume goes on, and so does a worker."
            raise CommandError(left, returncode=130) from None
        index.compact()
        written = self._left()
        still = f"; {written:,} more are being written to, and follow by themselves" if written else ""
        self.stdout.write(f"done: {total - written:,} conversations, {bots:,} bots{still}")

    def _index(self, total: int) -> None:
        started = last_report = time.monotonic()
        while indexing.index_what_is_new(AT_ONCE):
            now = time.monotonic()
            if now - last_report >= REPORT_EVERY:
                last_report, left = now, self._left()
                done = max(total - left, 1)
                minutes = (now - started) / done * left / 60
                self.stdout.write(f"{done:,} of {total:,}, {done / total:.0%}, about {minutes:.0f} minutes left")

    def _index_bots(self) -> int:
        indexed = 0
        while batch := store_indexing.index_what_is_new(AT_ONCE):
            indexed += batch
        return indexed

    def _left(self) -> int:
        return Conversation.objects.to_be_indexed().count()
