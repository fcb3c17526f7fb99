"""`manage.py retention`: the policies, and what is on hold."""

from typing import Any

from django.conf import settings

from bedrock_chat.management.printing import PrintingCommand
from bedrock_chat.retention.models import BotRetention, Hold

NAMES = {
    "RETENTION_DAYS": "Conversations",
    "LEDGER_RETENTION_DAYS": "Calls",
    "ROLLUP_RETENTION_DAYS": "Sums",
}


class Command(PrintingCommand):
    help = "Lists how long everything is kept, bots with a policy of their own, and holds with their reasons."

    def handle(self, *args: Any, json: bool, **options: Any) -> None:
        lengths = {name: getattr(settings, name) or None for name in NAMES}
        bots = dict(BotRetention.objects.order_by("pk").values_list("pk", "days"))
        holds = list(Hold.objects.order_by("kind", "target_id"))
        document = {
            "days": lengths,
            "bots": bots,
            "holds": [
                {
                    "kind": hold.kind,
                    "id": hold.target_id,
                    "reason": hold.reason,
                    "placedAt": hold.placed_at.isoformat(),
                }
                for hold in holds
            ],
        }
        sentences = [f"{what}: {_length(lengths[name])} ({name})" for name, what in NAMES.items()]
        sentences += [f"Conversations with the bot {bot_id}: {_length(days)}" for bot_id, days in bots.items()]
        sentences += [f"On hold since {hold.placed_at:%Y-%m-%d}: {hold}: {hold.reason}" for hold in holds]
        self.print(document, sentences, as_json=json)


def _length(days: int | None) -> str:
    return "for ever" if days is None else f"{days} days"
