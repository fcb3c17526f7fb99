"""`manage.py issue_token alice --group Admin --days 30`: a token of a local identity, alone on stdout."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError, ProgrammingError, transaction

from bedrock_chat.audit import verbs
from bedrock_chat.audit.recording import record
from bedrock_chat.identity import local
from bedrock_chat.identity.caller import Program


class Command(BaseCommand):
    help = "Prints an ID token of a local identity, which is made where it is not there yet."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument(
            "--group",
            action="append",
            default=[],
            help="May be repeated: Admin, PublishAllowed, … Without it the groups are those of LOCAL_GROUPS.",
        )
        parser.add_argument("--days", type=float, default=30)
        parser.add_argument("--email", default="")

    def handle(self, *args: Any, **options: Any) -> None:
        username, days, email = (options[name] for name in ("username", "days", "email"))
        groups = options["group"] or settings.LOCAL_GROUPS
        try:
            token = local.issue_token(username, groups, days=days, email=email)
            user_id, values = local.local_user(username).pk, {"groups": set(groups), "days": days}
            with transaction.atomic():
                record(verbs.ISSUE_TOKEN, user_id, actor=Program.command("issue_token"), values=values)
        except (OperationalError, ProgrammingError) as error:
            reason = str(error).partition("\n")[0]
            raise CommandError(f"The database is not ready ({reason}); `manage.py migrate` makes its tables.") from None
        self.stdout.write(token)
