"""`manage.py prune --older-than 90d --dry-run`: deletes what is older than the policies, or than some days."""

import re
from argparse import ArgumentTypeError
from collections import Counter
from typing import Any

from django.core.management.base import CommandError, CommandParser

from bedrock_chat.identity.caller import Program
from bedrock_chat.management.printing import PrintingCommand
from bedrock_chat.retention import policies, pruning
from bedrock_chat.retention.models import MOST_DAYS


def some_days(text: str) -> int:
    """A number of days, such as `90d`. Raises ArgumentTypeError."""
    match = re.fullmatch(r"([1-9][0-9]{0,4})d", text, re.ASCII)
    if match is None or int(match[1]) > MOST_DAYS:
        raise ArgumentTypeError(f"a number of days such as 90d, up to {MOST_DAYS}d")
    return int(match[1])


class Command(PrintingCommand):
    help = (
        "Deletes what the policies do not keep any more: conversations, then calls and sums. With --older-than only "
        "conversations go: those that last changed before, but for bots with a policy of their own. What is on hold or "
        "in use stays. Files follow when BLOB_GRACE_SECONDS are over. It may be interrupted, and called again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--older-than", type=some_days, metavar="DAYS", help="such as 90d, in place of the policies"
        )
        parser.add_argument("--bot", metavar="ID", help="only conversations with this bot")
        parser.add_argument("--dry-run", action="store_true", help="only print what would go")

    def handle(
        self, *args: Any, older_than: int | None, bot: str | None, dry_run: bool, json: bool, **options: Any
    ) -> None:
        if older_than is not None:
            plan = policies.once(older_than, bot_id=bot)
        else:
            plan = policies.standing() if bot is None else policies.of_bot(bot)
        counts: Counter[str] = Counter()
        if dry_run:
            counts = pruning.count(plan)
        else:
            try:
                for some in pruning.prune(plan, actor=Program.command("prune")):
                    counts.update(some)
            except KeyboardInterrupt:
                raise CommandError(f"Interrupted after {_listed(counts)}; call it again.", returncode=130) from None
        document = {kind: number for kind, number in sorted(counts.items()) if number}
        sentence = f"{'To be deleted' if dry_run else 'Deleted'}: {_listed(counts)}."
        self.print({"dryRun": dry_run, "counts": document}, [sentence], as_json=json)


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{number:,} {kind}" for kind, number in counts.items() if number) or "nothing"
