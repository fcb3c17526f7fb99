from django.db import migrations


class Migration(migrations.Migration):
    """The ledger is the kernel's by now, with the same table."""

    dependencies = [
        ('conversations', '0004_indexed_at'),
        ('bedrock_chat', '0006_ledger'),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(state_operations=[migrations.DeleteModel(name='ModelCall')]),
    ]
