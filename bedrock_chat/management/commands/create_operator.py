"""`manage.py create_operator olga --role support`: somebody who may sign in to the console."""

import getpass
import secrets
import sys
from typing import Any

from django.core.management.base import CommandError, CommandParser

from bedrock_chat.console import operators
from bedrock_chat.console.roles import Role
from bedrock_chat.identity.caller import Program
from bedrock_chat.identity.passwords import LONGEST_PASSWORD
from bedrock_chat.management.printing import PrintingCommand


class Command(PrintingCommand):
    help = (
        "Makes an operator who signs in to the console with a login and a password. The password is typed twice at a "
        "terminal, or is the first line of standard input, or is generated and printed once."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("login")
        parser.add_argument("--role", choices=list(Role), required=True, help="what the operator may do")
        parser.add_argument("--generate", action="store_true", help="make a password and print it")

    def handle(self, *args: Any, login: str, role: str, generate: bool, json: bool, **options: Any) -> None:
        password = secrets.token_urlsafe(operators.GENERATED_BYTES) if generate else _typed_password()
        operator = operators.create(login, Role(role), password, actor=Program.command("create_operator"))
        document = {"id": operator.pk, "login": login, "role": role, **({"password": password} if generate else {})}
        sentences = [f"{login} may sign in to the console as {role}."]
        if generate:
            sentences.append(f"Password: {password}")
        self.print(document, sentences, as_json=json)


def _typed_password() -> str:
    """The password as it is typed, or piped. Raises CommandError."""
    if not sys.stdin.isatty():
        password = sys.stdin.readline(LONGEST_PASSWORD + 1).rstrip("\r\n")
        if not password or len(password) > LONGEST_PASSWORD:
            raise CommandError("The first line of standard input is to be the password.", returncode=2)
        return password
    password = getpass.getpass("Password: ")
    if getpass.getpass("Password again: ") != password:
        raise CommandError("The two passwords differ.")
    return password
