"""`manage.py rebuild_rollups`: makes all sums of reports anew from the ledger."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from bedrock_chat.ledger.rollups import making, rebuilding


class Command(BaseCommand):
    help = (
        "Makes all sums anew from the ledger, day by day, after what has no sum yet. Reports go on meanwhile. Sums "
        "whose rows are no longer in the ledger stay. Interrupted, it goes on with --resume."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--resume", action="store_true", help="goes on with a rebuild instead of beginning one")

    def handle(self, *args: Any, resume: bool, **options: Any) -> None:
        days = 0
        try:
            making.roll_up()
            for day in rebuilding.rebuild(resume=resume):
                days += 1
                if days % 100 == 0:
                    self.stdout.write(f"{day}")
        except KeyboardInterrupt:
            raise CommandError(f"Interrupted after {days:,} days; --resume goes on.", returncode=130) from None
        self.stdout.write(f"{days:,} days are made anew.")
