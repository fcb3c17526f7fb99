"""How the commands about keys print: sentences, or with `--json` one document, alone on stdout."""

import json
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.utils import OperationalError, ProgrammingError

from bedrock_chat.encryption.errors import EncryptionError
from bedrock_chat.wire.errors import ApiError
from publication.keys import Shown
from publication.models import ApiKey


class KeyCommand(BaseCommand):
    """A command about keys. Its exit code is 0 when all is as asked for, 1 for a refusal, 2 for wrong arguments."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON document instead of sentences")

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Django's. What the product refuses is one sentence on stderr."""
        try:
            return super().execute(*args, **options)
        except (ApiError, EncryptionError) as error:
            raise CommandError(str(getattr(error, "detail", error))) from None
        except (OperationalError, ProgrammingError) as error:
            raise CommandError(f"The database cannot be asked: {str(error).partition(chr(10))[0]}") from None

    def print(self, document: Any, sentences: list[str], *, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps(document, ensure_ascii=False, indent=1))
        else:
            for sentence in sentences:
                self.stdout.write(sentence)


def key_document(key: ApiKey) -> dict[str, Any]:
    """A key without its value."""
    return {
        "id": key.pk,
        "bot": key.publication.bot_id,
        "description": key.description,
        "lineage": key.lineage,
        "replacedBy": key.replaced_by or None,
        "createdAt": iso(key.created_at),
        "expiresAt": iso(key.expires_at),
        "lastUsedAt": iso(key.last_used_at),
        "lastUsedAddress": key.last_used_address,
        "lastUsedAgent": key.last_used_agent,
    }


def shown_document(shown: Shown, **facts: Any) -> dict[str, Any]:
    """A key with its value, which is null where no copy is kept."""
    return {**key_document(shown.key), "value": shown.value or None, **facts}


def value_sentence(shown: Shown) -> str:
    return shown.value or "Its value was shown once, when it was made; no copy is kept (API_KEY_REVEAL=once)."


def iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="seconds")


def day_and_time(moment: datetime | None) -> str:
    return "never" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
