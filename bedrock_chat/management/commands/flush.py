"""`manage.py flush`: Django's would empty every table; here it is refused, and says what to do."""

from typing import Any

from django.core.management import CommandError
from django.core.management.commands import flush

REFUSAL = (
    "This database cannot be emptied: the audit is append-only, and no command would bring back what migrations wrote "
    "(operators' roles). Make a new database, or on SQLite remove the file, and run `manage.py migrate`."
)


class Command(flush.Command):
    """Django's own would fail with guesses on PostgreSQL, and on SQLite empty what has no entry of the audit yet."""

    help = "Refused: the audit is append-only. A new database is made instead, by `manage.py migrate`."

    def handle(self, *args: Any, **options: Any) -> None:
        raise CommandError(REFUSAL)
