"""Django's log of statements, which DEBUG switches on."""

from django.db.backends.base.base import BaseDatabaseWrapper


class WithoutQueryLog(BaseDatabaseWrapper):
    """Keeps no statements, also under DEBUG, as `make run` has it: they take a tenth of a turn's CPU, and memory.

    Tests that count statements switch the log on for their connection.
    """

    @property
    def queries_logged(self) -> bool:
        return bool(self.force_debug_cursor)
