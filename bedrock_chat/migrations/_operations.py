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


def add_checked_column(table: str, column: str, kind: str, name: str, condition: str) -> migrations.RunPython:
    """Adds a column that may be NULL, and a constraint of this name about it. Copies nothing, and keeps nobody out.

    Django's AddConstraint remakes a table of SQLite, and PostgreSQL reads all rows under a lock that keeps readers out
    too. So the constraint comes with SQLite's column, and on PostgreSQL it holds for new rows alone until
    `validate_constraint` has run, in a later migration.
    """
    rule = f'CONSTRAINT "{name}" CHECK ({condition})'

    def add(apps, schema_editor):
        add_column = f'ALTER TABLE "{table}" ADD COLUMN "{column}" {kind} NULL'
        if schema_editor.connection.vendor == 'postgresql':
            schema_editor.execute(add_column)
            schema_editor.execute(f'ALTER TABLE "{table}" ADD {rule} NOT VALID')
        else:
            schema_editor.execute(f'{add_column} {rule}')

    def drop(apps, schema_editor):
        schema_editor.execute(f'ALTER TABLE "{table}" DROP COLUMN "{column}"')

    return migrations.RunPython(add, drop)


def validate_constraint(table: str, name: str) -> migrations.RunPython:
    """Holds the rows of before against a constraint that was added for new ones alone. Others read and write meanwhile,
    if the migration is `atomic = False`.
    """

    def validate(apps, schema_editor):
        if schema_editor.connection.vendor == 'postgresql':
            schema_editor.execute(f'ALTER TABLE "{table}" VALIDATE CONSTRAINT "{name}"')

    return migrations.RunPython(validate, migrations.RunPython.noop)


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


class AddIndexConcurrently(migrations.AddIndex):
    """Adds an index of a large table. On PostgreSQL others write to the table meanwhile, which CREATE INDEX forbids.

    That takes no transaction, so the migration is `atomic = False`. What a run that was interrupted left goes first:
    an index that PostgreSQL does not use. Django's operation of that name needs `django.contrib.postgres`.
    """

    atomic = False

    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        model = to_state.apps.get_model(app_label, self.model_name)
        if not self.allow_migrate_model(schema_editor.connection.alias, model):
            return
        how, options = '', {}
        if schema_editor.connection.vendor == 'postgresql':
            how, options = 'CONCURRENTLY ', {'concurrently': True}
        schema_editor.execute(f'DROP INDEX {how}IF EXISTS {schema_editor.quote_name(self.index.name)}')
        schema_editor.add_index(model, self.index, **options)


class ReplaceCheck(migrations.AddConstraint):
    """Puts a CHECK constraint in the place of one of the same name.

    SQLite's table is copied once, where Django's two operations copy it twice. On PostgreSQL the constraint holds for
    new rows alone until `validate_constraint` has run: to read all rows would keep others out.
    """

    def state_forwards(self, app_label, state):
        state.remove_constraint(app_label, self.model_name_lower, self.constraint.name)
        super().state_forwards(app_label, state)

    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        model = to_state.apps.get_model(app_label, self.model_name)
        if schema_editor.connection.vendor == 'postgresql':
            table = schema_editor.quote_name(model._meta.db_table)
            schema_editor.execute(f'ALTER TABLE {table} DROP CONSTRAINT {schema_editor.quote_name(self.constraint.name)}')
            rule = self.constraint.constraint_sql(model, schema_editor)
            schema_editor.execute(f'ALTER TABLE {table} ADD {rule} NOT VALID')
        else:
            schema_editor._remake_table(model)

    def database_backwards(self, app_label, schema_editor, from_state, to_state):
        self.database_forwards(app_label, schema_editor, from_state, to_state)

    def describe(self):
        return f'Replace constraint {self.constraint.name} of model {self.model_name}'
