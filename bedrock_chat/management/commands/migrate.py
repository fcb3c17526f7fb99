"""`manage.py migrate`: Django's, after which the audit is append-only again."""

from typing import Any

from django.core.management.commands import migrate

from bedrock_chat.audit import append_only


class Command(migrate.Command):
    """A migration that remakes a table of SQLite drops its triggers without a word, so they are made after each run."""

    def handle(self, *args: Any, **options: Any) -> None:
        super().handle(*args, **options)
        if not options.get("plan") and not options.get("check_unapplied"):
            append_only.guard()
