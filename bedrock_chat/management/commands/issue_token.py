"""`manage.py issue_token alice --group Admin --days 30`: a token of a local identity, alone on stdout."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from bedrock_chat.identity import local


class Command(BaseCommand):
    help = "Prints an ID token of a local identity, which is made where it is not there yet."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--group", action="append", default=[], help="May be repeated: Admin, PublishAllowed, …")
        parser.add_argument("--days", type=float, default=30)
        parser.add_argument("--email", default="")

    def handle(self, *args: Any, **options: Any) -> None:
        token = local.issue_token(options["username"], options["group"], days=options["days"], email=options["email"])
        self.stdout.write(token)
