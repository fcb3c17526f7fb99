"""`manage.py expire_audit --days 400`: deletes old entries of the audit."""

from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand

from bedrock_chat.audit import expiring
from bedrock_chat.identity.caller import Program

MOST_DAYS = 36_500


def whole_days(text: str) -> int:
    """A number of days, one at least. Raises ArgumentTypeError."""
    if not text.isdecimal() or not 1 <= int(text) <= MOST_DAYS:
        raise ArgumentTypeError(f"from 1 to {MOST_DAYS} days")
    return int(text)


class Command(BaseCommand):
    help = "Deletes the entries of the audit that are older than some days. That itself leaves an entry."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--days", type=whole_days, required=True, help="how long entries are kept")

    def handle(self, *args: Any, days: int, **options: Any) -> None:
        count = sum(expiring.expire(days, actor=Program.command("expire_audit")))
        self.stdout.write(f"{count} entries were deleted.")
