from django.db import migrations

from bedrock_chat.migrations._operations import validate_constraint


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ('conversations', '0015_document_numbers'),
    ]

    operations = [
        validate_constraint('conversations_relateddocument', 'own_document_has_no_stored_link'),
    ]
