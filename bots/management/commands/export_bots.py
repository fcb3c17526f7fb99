"""`manage.py export_bots DIR`: bots as files, to keep them in git."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from bedrock_chat.identity.caller import Program
from bedrock_chat.wire.errors import ApiError
from bots.transfer import folders


class Command(BaseCommand):
    help = "Writes bots into a folder, a document each, without secrets. What has not changed is not written."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("folder", type=Path, metavar="DIR")
        parser.add_argument("--bot", action="append", default=[], metavar="ID", help="may be repeated (default: all)")
        parser.add_argument("--files", action="store_true", help="write the bots' files as well")

    def handle(self, *args: Any, folder: Path, bot: list[str], files: bool, **options: Any) -> None:
        written = 0
        try:
            for name in folders.write(folder, bot, with_files=files, actor=Program.command("export_bots")):
                self.stdout.write(name)
                written += 1
        except ApiError as error:
            raise CommandError(str(error.detail)) from None
        except OSError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"{written} files are new or differ.")
