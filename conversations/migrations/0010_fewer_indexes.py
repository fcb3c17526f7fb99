import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.db.models import Q

from bedrock_chat.migrations._operations import drop_indexes

TABLE = 'conversations_conversation'
_last_keys = {}


def note_last_key(apps, schema_editor):
    """SQLite remakes the table of conversations below, and would give the keys of deleted ones a second time."""
    if schema_editor.connection.vendor == 'sqlite':
        with schema_editor.connection.cursor() as cursor:
            cursor.execute('SELECT seq FROM sqlite_sequence WHERE name = %s', [TABLE])
            _last_keys.update({TABLE: row[0] for row in cursor.fetchall()})


def restore_last_key(apps, schema_editor):
    if TABLE in _last_keys:
        schema_editor.execute('DELETE FROM sqlite_sequence WHERE name = %s', [TABLE])
        schema_editor.execute('INSERT INTO sqlite_sequence (name, seq) VALUES (%s, %s)', [TABLE, _last_keys.pop(TABLE)])


class Migration(migrations.Migration):
    """Each index is a page more that every turn writes.

    On SQLite the table of conversations is copied, since a constraint of it changes; that of messages is not.
    """

    dependencies = [
        ('conversations', '0009_index_symbols'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        drop_indexes('conversations_conversation', 'user_id', 'publication_id', 'bot_id'),
        drop_indexes('conversations_message', 'conversation_id', 'parent_id', 'lease_expires_at'),
        drop_indexes('conversations_relateddocument', 'conversation_id'),
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AlterField(
                    model_name='conversation',
                    name='bot_id',
                    field=models.CharField(blank=True, max_length=256, null=True),
                ),
                migrations.AlterField(
                    model_name='conversation',
                    name='publication_id',
                    field=models.CharField(blank=True, max_length=256, null=True),
                ),
                migrations.AlterField(
                    model_name='conversation',
                    name='user',
                    field=models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                migrations.AlterField(
                    model_name='message',
                    name='conversation',
                    field=models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name='messages',
                        to='conversations.conversation',
                    ),
                ),
                migrations.AlterField(
                    model_name='message',
                    name='lease_expires_at',
                    field=models.DateTimeField(blank=True, null=True),
                ),
                migrations.AlterField(
                    model_name='message',
                    name='parent',
                    field=models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name='children',
                        to='conversations.message',
                    ),
                ),
                migrations.AlterField(
                    model_name='relateddocument',
                    name='conversation',
                    field=models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name='related_documents',
                        to='conversations.conversation',
                    ),
                ),
            ],
        ),
        migrations.RunPython(note_last_key, migrations.RunPython.noop),
        migrations.RemoveConstraint(model_name='conversation', name='conversation_id_unique_per_publication'),
        migrations.RunPython(restore_last_key, migrations.RunPython.noop),
        migrations.AddIndex(
            model_name='conversation',
            index=models.Index(condition=Q(bot_id__isnull=False), fields=['bot_id'], name='conversations_of_a_bot'),
        ),
        migrations.AddIndex(
            model_name='message',
            index=models.Index(condition=Q(parent__isnull=False), fields=['parent'], name='messages_below_a_message'),
        ),
        migrations.AddConstraint(
            model_name='conversation',
            constraint=models.UniqueConstraint(
                condition=Q(publication_id__isnull=False),
                fields=('publication_id', 'external_id'),
                name='conversation_id_unique_per_publication',
            ),
        ),
    ]
