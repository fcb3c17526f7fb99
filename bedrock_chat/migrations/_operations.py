"""What migrations of several apps do, for want of an operation of Django's."""

from django.db import migrations


def rename_column(table: str, old: str, new: str) -> migrations.RunSQL:
    """Renames a column in place, with every constraint and index of the database that names it. Copies nothing.

    Django's RenameField remakes a table of SQLite whose constraints it does not know to rename.
    """
    statement = 'ALTER TABLE "{}" RENAME COLUMN "{}" TO "{}"'
    return migrations.RunSQL(statement.format(table, old, new), statement.format(table, new, old))
