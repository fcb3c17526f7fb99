"""How commands print: sentences, or with `--json` one document, alone on stdout."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.utils import OperationalError, ProgrammingError

from bedrock_chat.encryption.errors import EncryptionError
from bedrock_chat.wire.errors import ApiError


class PrintingCommand(BaseCommand):
    """A command with `--json`. Its exit code is 0 when all is as asked for, 1 for a refusal, 2 for wrong arguments."""

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
