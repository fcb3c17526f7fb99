"""`manage.py revoke_api_key KEY`: ends a key at once."""

from typing import Any

from django.core.management.base import CommandParser

from bedrock_chat.identity.caller import Program
from bedrock_chat.management.printing import PrintingCommand
from publication import operating


class Command(PrintingCommand):
    help = (
        "Deletes a key: the next request with it is refused, in every process. What was used of its limits stays. A "
        "key that was revoked before is no error."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("key", help="the id of the key, as list_api_keys shows it")

    def handle(self, *args: Any, key: str, json: bool, **options: Any) -> None:
        is_new = operating.revoke(key, actor=Program.command("revoke_api_key"))
        sentence = f"{key} is revoked." if is_new else f"{key} was revoked before."
        self.print({"id": key, "revoked": is_new}, [sentence], as_json=json)
