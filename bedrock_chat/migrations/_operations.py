"""What migrations of several apps do, for want of an operation of Django's."""

from django.db import migrations


def rename_column(table: str, old: str, new: str) -> migrations.RunSQL:
    """Renames a column in place, with every constraint and index of the database that names it. Copies nothing.

    Django's RenameField remakes a table of SQLite whose constraints it does not know to rename.
    """
    statement = 'ALTER TABLE "{}" RENAME COLUMN "{}" TO "{}"'
    return migrations.RunSQL(statement.format(table, old, new), statement.format(table, new, old))


def add_text(table: str, column: str, length: int) -> migrations.RunSQL:
    """Adds a column that is empty in all rows, whose field has `db_default=''`. Copies nothing.

    Django's AddField of a column that is not NULL remakes a table of SQLite.
    """
    add = f'ALTER TABLE "{table}" ADD COLUMN "{column}" varchar({length}) DEFAULT \'\' NOT NULL'
    return migrations.RunSQL(add, f'ALTER TABLE "{table}" DROP COLUMN "{column}"')


def drop_indexes(table: str, *columns: str) -> migrations.RunPython:
    """Drops the indexes of these columns, each of one column alone. Copies nothing.

    Django's AlterField to `db_index=False` remakes a table of SQLite. On PostgreSQL a text has two indexes, one of them
    for LIKE.
    """

    def drop(apps, schema_editor):
        connection = schema_editor.connection
        with connection.cursor() as cursor:
            constraints = connection.introspection.get_constraints(cursor, table)
        for name, constraint in constraints.items():
            is_plain = constraint['index'] and not constraint['unique'] and not constraint['primary_key']
            if is_plain and constraint['columns'] in [[column] for column in columns]:
                schema_editor.execute(f'DROP INDEX {connection.ops.quote_name(name)}')

    return migrations.RunPython(drop, migrations.RunPython.noop)
