"""`manage.py rotate_encryption_key`: puts all stored secrets under the first key of ENCRYPTION_KEYS."""

import json as json_module
from argparse import ArgumentParser
from collections.abc import Iterator
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
        "Encrypts all stored secrets (those of tools, and the values of API keys) with the first key of "
        "ENCRYPTION_KEYS, a hundred in a transaction, and says which keys can go. Requests are served meanwhile; "
        "interrupted, it goes on when it is called again; called twice, the second call changes nothing. Exit code 1: "
        "some secrets cannot be read, and are as they were."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--give-up", metavar="FINGERPRINT", help="instead, empty the secrets under this key, which is lost"
        )
        parser.add_argument("--yes", action="store_true", help="do not ask whether it is meant")
        parser.add_argument("--json", action="store_true", help="print one JSON document instead of sentences")

    def handle(self, *args: Any, give_up: str | None, yes: bool, json: bool, **options: Any) -> None:
        if give_up and not yes and input(f"These secrets are lost then. Type {give_up} to give them up: ") != give_up:
            raise CommandError("Nothing was done.")
        steps = rotating.give_up(give_up) if give_up else rotating.rotate()
        sentences: list[str] = []
        try:
            self._record(give_up)
            for sentence in _one_by_one(steps):
                sentences.append(sentence)
                if not json:
                    self.stdout.write(sentence)
        except EncryptionError as error:
            raise CommandError(str(error)) from None
        finally:
            if json:
                self.stdout.write(json_module.dumps({"steps": sentences, **_keys()}, indent=1))
        if not json:
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
            record(verb, fingerprint, actor=Program.command("rotate_encryption_key"))


def _one_by_one(steps: Iterator[str]) -> Iterator[str]:
    """The sentences. On SQLite others may write between two of the transactions behind them."""
    while True:
        with yield_sqlite_lock():
            sentence = next(steps, None)
        if sentence is None:
            return
        yield sentence


def _keys() -> dict[str, list[str]]:
    """Fingerprints: of the keys that stored secrets need, and of those of this server that may go."""
    needed = keys.in_use()
    try:
        usable = [keys.fingerprint(key) for key in keys.usable()]
    except EncryptionError:  # which the command says
        usable = []
    return {"needed": needed, "mayGo": [fingerprint for fingerprint in usable[1:] if fingerprint not in needed]}
