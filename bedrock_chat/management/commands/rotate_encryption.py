"""`manage.py rotate_encryption`: puts all stored secrets under the first key of ENCRYPTION_KEYS."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from bedrock_chat.audit import verbs
from bedrock_chat.audit.recording import record
from bedrock_chat.database.connections import yield_sqlite_lock
from bedrock_chat.encryption import keys, rotating
from bedrock_chat.encryption.errors import EncryptionError
from bedrock_chat.identity.caller import Program


class Command(BaseCommand):
    help = (
        "Encrypts all stored secrets with the first key of ENCRYPTION_KEYS, and says which keys can go. "
        "Requests are served meanwhile; interrupted, it goes on when it is called again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--give-up", metavar="FINGERPRINT", help="instead, empty the secrets under this key, which is lost"
        )
        parser.add_argument("--yes", action="store_true", help="do not ask whether it is meant")

    def handle(self, *args: Any, give_up: str | None, yes: bool, **options: Any) -> None:
        if give_up and not yes and input(f"These secrets are lost then. Type {give_up} to give them up: ") != give_up:
            raise CommandError("Nothing was done.")
        steps = rotating.give_up(give_up) if give_up else rotating.rotate()
        try:
            self._record(give_up)
            while True:
                with yield_sqlite_lock():
                    sentence = next(steps, None)
                if sentence is None:
                    break
                self.stdout.write(sentence)
        except EncryptionError as error:
            raise CommandError(str(error)) from None
        self.stdout.write("Done.")

    def _record(self, given_up: str | None) -> None:
        """Before the first of many transactions: a command that is interrupted has changed secrets too.

        Raises NothingGivenUp where there is nothing to give up.
        """
        if given_up:
            rotating.require_lost(given_up)
        verb = verbs.GIVE_UP_ENCRYPTION if given_up else verbs.ROTATE_ENCRYPTION
        fingerprint = given_up or keys.fingerprint(keys.first())
        with transaction.atomic():
            record(verb, fingerprint, actor=Program.command("rotate_encryption"))
