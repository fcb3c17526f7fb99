"""`manage.py list_api_keys --bot BOT`: keys, their last use, and who still uses one that was replaced."""

from typing import Any

from django.core.management.base import CommandParser

from bedrock_chat.identity.caller import Program
from bedrock_chat.management.printing import PrintingCommand
from publication import operating
from publication.management.printing import day_and_time, key_document
from publication.operating import KeyState, Listed


class Command(PrintingCommand):
    help = (
        "Lists the keys of published bots without their values: state, last use, and for a key that was replaced "
        "whether anybody still calls with it, so that it can be seen when it may go."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--bot", metavar="BOT", action="append", default=[], help="of this bot; may be repeated")
        parser.add_argument("--replaced", action="store_true", help="only those that were replaced and still work")

    def handle(self, *args: Any, bot: list[str], replaced: bool, json: bool, **options: Any) -> None:
        rows = list(operating.listed(bot, actor=Program.command("list_api_keys")))
        if replaced:
            rows = [row for row in rows if row.state == KeyState.REPLACED]
        sentences = [sentence for row in rows for sentence in _sentences(row)] or ["There are no such keys."]
        self.print([_document(row) for row in rows], sentences, as_json=json)


def _document(row: Listed) -> dict[str, Any]:
    used = row.still_used
    still = None if used is None else {"calls": used.calls, "userLabels": used.labels}
    return {**key_document(row.key), "state": row.state, "sinceReplaced": still}


def _sentences(row: Listed) -> list[str]:
    """Texts of others are quoted: a terminal obeys what stands in them."""
    key = row.key
    end = "" if key.expires_at is None else f", ends {day_and_time(key.expires_at)}"
    successor = f" by {key.replaced_by}" if row.state == KeyState.REPLACED else ""
    by = f" from {key.last_used_address}, {key.last_used_agent!r}" if key.last_used_at else ""
    sentences = [
        f"{key.pk}  {row.state}{successor}  {key.publication}  made {day_and_time(key.created_at)}{end}  "
        f"{key.description!r}",
        f"            last used {day_and_time(key.last_used_at)}{by}",
    ]
    if (used := row.still_used) is not None:
        labels = f" for {', '.join(map(repr, used.labels))}" if used.labels else ""
        sentences.append(f"            {used.calls} calls to models with it since it was replaced{labels}")
    return sentences
