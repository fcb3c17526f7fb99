"""`manage.py erase_user SUB`: forgets a person."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from bedrock_chat.audit import verbs
from bedrock_chat.audit.recording import record
from bedrock_chat.identity import erasing
from bedrock_chat.identity.caller import Program
from bedrock_chat.wire.errors import Conflict, NotFound


class Command(BaseCommand):
    help = "Deletes a user with everything they said; what was spent stays under an id that names nobody."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("sub", help="the user's id: the `sub` of their tokens")
        parser.add_argument("--yes", action="store_true", help="do not ask whether it is meant")

    def handle(self, *args: Any, sub: str, yes: bool, **options: Any) -> None:
        if not yes and input(f"This cannot be undone. Type {sub} to erase them: ") != sub:
            raise CommandError("Nothing was done.")

        actor = Program.command("erase_user")

        def record_it() -> None:
            record(verbs.ERASE_USER, sub, actor=actor)

        try:
            for step in erasing.erase(sub, on_finish=record_it, actor=actor):
                self.stdout.write(step)
        except (NotFound, Conflict) as error:
            raise CommandError(str(error.detail)) from None
