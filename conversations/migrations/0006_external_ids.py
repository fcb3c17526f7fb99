"""The clients' ids are called `external_id`: `conversation_id` is Django's name of a foreign key's column."""

from django.db import migrations, models
from django.db.models import Q

from bedrock_chat.migrations._operations import rename_column


class Migration(migrations.Migration):

    dependencies = [
        ('conversations', '0005_ledger'),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                rename_column('conversations_conversation', 'conversation_id', 'external_id'),
                rename_column('conversations_message', 'message_id', 'external_id'),
            ],
            # Constraints of the state name fields by themselves, so each is taken out and put in again around the renaming.
            # The database's own follow their column.
            state_operations=[
                migrations.RemoveConstraint('conversation', 'conversation_id_not_blank'),
                migrations.RemoveConstraint('conversation', 'conversation_id_unique_per_user'),
                migrations.RemoveConstraint('conversation', 'conversation_id_unique_per_publication'),
                migrations.RenameField('conversation', 'conversation_id', 'external_id'),
                migrations.AddConstraint(
                    'conversation',
                    models.CheckConstraint(condition=~Q(external_id=''), name='conversation_id_not_blank'),
                ),
                migrations.AddConstraint(
                    'conversation',
                    models.UniqueConstraint(fields=('user', 'external_id'), name='conversation_id_unique_per_user'),
                ),
                migrations.AddConstraint(
                    'conversation',
                    models.UniqueConstraint(
                        fields=('publication_id', 'external_id'), name='conversation_id_unique_per_publication'
                    ),
                ),
                migrations.RemoveConstraint('message', 'message_id_unique_per_conversation'),
                migrations.RemoveConstraint('message', 'message_id_is_not_the_roots'),
                migrations.RenameField('message', 'message_id', 'external_id'),
                migrations.AddConstraint(
                    'message',
                    models.UniqueConstraint(
                        fields=('conversation', 'external_id'), name='message_id_unique_per_conversation'
                    ),
                ),
                migrations.AddConstraint(
                    'message',
                    models.CheckConstraint(
                        condition=~Q(external_id__in=['', 'instruction', 'system']), name='message_id_is_not_the_roots'
                    ),
                ),
            ],
        ),
    ]
