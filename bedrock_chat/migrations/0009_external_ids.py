from django.db import migrations, models

from bedrock_chat.migrations._operations import rename_column


class Migration(migrations.Migration):

    dependencies = [
        ('bedrock_chat', '0008_fill_payer'),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                rename_column('conversations_modelcall', 'conversation_id', 'conversation_external_id'),
                rename_column('conversations_modelcall', 'message_id', 'message_external_id'),
            ],
            state_operations=[
                migrations.RemoveIndex('modelcall', 'call_of_a_question'),
                migrations.RenameField('modelcall', 'conversation_id', 'conversation_external_id'),
                migrations.RenameField('modelcall', 'message_id', 'message_external_id'),
                migrations.AddIndex(
                    'modelcall',
                    models.Index(
                        fields=['conversation_external_id', 'message_external_id'], name='call_of_a_question'
                    ),
                ),
            ],
        ),
    ]
