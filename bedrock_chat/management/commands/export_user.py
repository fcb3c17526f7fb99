"""`manage.py export_user SUB`: all that is stored of a person, as files."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from bedrock_chat.audit import verbs
from bedrock_chat.audit.recording import record
from bedrock_chat.identity import exporting
from bedrock_chat.identity.caller import Program
from bedrock_chat.wire.errors import NotFound


class Command(BaseCommand):
    help = "Writes what is stored of a user into a folder: JSON lines, and their images and documents."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("sub", help="the user's id: the `sub` of their tokens")
        parser.add_argument("--to", type=Path, help="an empty or new folder (default: export-SUB)")

    def handle(self, *args: Any, sub: str, to: Path | None, **options: Any) -> None:
        folder = to or Path(f"export-{sub.replace(':', '-')}")

        def record_it() -> None:
            with transaction.atomic():
                record(verbs.EXPORT_USER, sub, actor=Program.command("export_user"))

        try:
            for step in exporting.export(sub, folder, on_begin=record_it):
                self.stdout.write(step)
        except NotFound as error:
            raise CommandError(str(error.detail)) from None
        except OSError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"All of it is in {folder}")
