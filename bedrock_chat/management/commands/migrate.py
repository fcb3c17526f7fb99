"""`manage.py migrate`: Django's, after which the audit is append-only again."""

from typing import Any

from django.core.management.commands import migrate

from bedrock_chat.audit import append_only


class Command(migrate.Command):
    """A migration that remakes a table of SQLite drops its triggers without a word, so they are made after each run.

    Also after one that failed: a migration that had to change entries may have lifted them before.
    """

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            super().handle(*args, **options)
        finally:
            if not options.get("plan") and not options.get("check_unapplied"):
                append_only.guard()
