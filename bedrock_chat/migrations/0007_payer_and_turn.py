from django.db import migrations, models


def widen_purpose(apps, schema_editor):
    """SQLite does not enforce widths, and altering the field there would copy the table."""
    if schema_editor.connection.vendor == 'postgresql':
        schema_editor.execute('ALTER TABLE conversations_modelcall ALTER COLUMN purpose TYPE varchar(32)')


class Migration(migrations.Migration):
    """No table is copied: columns that may be null are added in place."""

    dependencies = [
        ('bedrock_chat', '0006_ledger'),
    ]

    operations = [
        migrations.AddField(
            model_name='modelcall',
            name='payer_id',
            field=models.CharField(blank=True, max_length=128, null=True),
        ),
        migrations.AddField(
            model_name='modelcall',
            name='turn_id',
            field=models.CharField(blank=True, max_length=26, null=True),
        ),
        migrations.SeparateDatabaseAndState(
            # Rows with longer words would not fit back; a narrower column refuses them by itself.
            database_operations=[migrations.RunPython(widen_purpose, migrations.RunPython.noop)],
            state_operations=[
                migrations.AlterField(
                    model_name='modelcall',
                    name='purpose',
                    field=models.CharField(choices=[('turn', 'Turn'), ('title', 'Title')], max_length=32),
                ),
            ],
        ),
    ]
