"""`manage.py export_user SUB`: all that is stored of a person, as files."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from bedrock_chat.identity import exporting
from bedrock_chat.wire.errors import NotFound


class Command(BaseCommand):
    help = "Writes what is stored of a user into a folder: JSON lines, and their images and documents."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("sub", help="the user's id: the `sub` of their tokens")
        parser.add_argument("--to", type=Path, help="an empty or new folder (default: export-SUB)")

    def handle(self, *args: Any, sub: str, to: Path | None, **options: Any) -> None:
        folder = to or Path(f"export-{sub.replace(':', '-')}")
        try:
            for step in exporting.export(sub, folder):
                self.stdout.write(step)
        except NotFound as error:
            raise CommandError(str(error.detail)) from None
        except OSError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"All of it is in {folder}")
