"""`manage.py import_bots DIR`: bots from files, as `export_bots` writes them."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from bedrock_chat.database.connections import yield_sqlite_lock
from bedrock_chat.encryption.errors import EncryptionError
from bedrock_chat.identity.caller import Program
from bedrock_chat.identity.models import User
from bedrock_chat.wire.errors import ApiError
from bots.transfer import folders
from bots.transfer.folders import Planned, Refused


class Command(BaseCommand):
    help = (
        "Makes the bots of a folder, and changes those that are there already. All files are looked at first: if one "
        "is not sound, nothing is imported. Interrupted, it goes on when it is called again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("folder", type=Path, metavar="DIR")
        parser.add_argument("--owner", metavar="USER", help="id or name of who gets the bots of owners unknown here")
        parser.add_argument("--dry-run", action="store_true", help="only show what would change")

    def handle(self, *args: Any, folder: Path, owner: str | None, dry_run: bool, **options: Any) -> None:
        fallback = None if owner is None else _user(owner)
        try:
            planned = folders.plan(folder, fallback)
            changes = [change for change in planned if change.is_change]
            for change in changes:
                self._show(change) if dry_run else self._apply(change)
        except Refused as refused:
            raise CommandError(f"Nothing was imported.\n{refused}") from None
        except ApiError as error:
            raise CommandError(f"{error.detail} What was told before is imported.") from None
        except (EncryptionError, OSError) as error:
            raise CommandError(str(error)) from None
        verb = "would change" if dry_run else "are changed"
        self.stdout.write(f"{len(changes)} of {len(planned)} bots {verb}.")

    def _show(self, change: Planned) -> None:
        self.stdout.write(change.sentence())
        for line in change.diff():
            self.stdout.write(line)

    def _apply(self, change: Planned) -> None:
        with yield_sqlite_lock():
            folders.apply(change, actor=Program.command("import_bots"))
        self.stdout.write(change.sentence())


def _user(named: str) -> User:
    """Raises CommandError."""
    users = list(User.objects.filter(pk=named)) or list(User.objects.filter(username=named)[:2])
    if len(users) != 1:
        raise CommandError(f"{'Nobody' if not users else 'More than one person'} here is called {named}.")
    return users[0]
