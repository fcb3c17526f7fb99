from django.db import migrations, models

from bedrock_chat.migrations._operations import add_checked_column


class Migration(migrations.Migration):

    dependencies = [
        ('conversations', '0014_rated_indexes'),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                add_checked_column(
                    'conversations_relateddocument',
                    'document_number',
                    'bigint',
                    'own_document_has_no_stored_link',
                    '"document_number" IS NULL OR "source_link" IS NULL',
                ),
            ],
            state_operations=[
                migrations.AddField(
                    model_name='relateddocument',
                    name='document_number',
                    field=models.BigIntegerField(blank=True, null=True),
                ),
                migrations.AddConstraint(
                    model_name='relateddocument',
                    constraint=models.CheckConstraint(condition=models.Q(('document_number__isnull', True), ('source_link__isnull', True), _connector='OR'), name='own_document_has_no_stored_link'),
                ),
            ],
        ),
    ]
