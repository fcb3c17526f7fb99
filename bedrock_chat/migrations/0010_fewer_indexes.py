from django.db import migrations, models
from django.db.models import Q

from bedrock_chat.migrations._operations import drop_indexes


class Migration(migrations.Migration):
    """Each index is a page more that every turn writes. No table is copied."""

    dependencies = [
        ('bedrock_chat', '0009_external_ids'),
    ]

    operations = [
        drop_indexes('conversations_modelcall', 'created_at', 'user_id', 'publication_id', 'key_id', 'bot_id'),
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AlterField(
                    model_name='modelcall',
                    name='created_at',
                    field=models.DateTimeField(),
                ),
                migrations.AlterField(
                    model_name='modelcall',
                    name='user_id',
                    field=models.CharField(blank=True, max_length=128, null=True),
                ),
                migrations.AlterField(
                    model_name='modelcall',
                    name='publication_id',
                    field=models.CharField(blank=True, max_length=256, null=True),
                ),
                migrations.AlterField(
                    model_name='modelcall',
                    name='key_id',
                    field=models.CharField(blank=True, max_length=64, null=True),
                ),
                migrations.AlterField(
                    model_name='modelcall',
                    name='bot_id',
                    field=models.CharField(blank=True, max_length=256, null=True),
                ),
            ],
        ),
        migrations.RemoveIndex(model_name='modelcall', name='call_of_a_question'),
        migrations.AddIndex(
            model_name='modelcall',
            index=models.Index(
                condition=Q(user_id__isnull=False),
                fields=['user_id', 'conversation_external_id', 'message_external_id'],
                name='calls_of_a_user',
            ),
        ),
        migrations.AddIndex(
            model_name='modelcall',
            index=models.Index(
                condition=Q(publication_id__isnull=False),
                fields=['publication_id', 'conversation_external_id', 'message_external_id'],
                name='calls_of_a_publication',
            ),
        ),
        migrations.AddIndex(
            model_name='modelcall',
            index=models.Index(condition=Q(key_id__isnull=False), fields=['key_id'], name='calls_of_a_key'),
        ),
        migrations.AddIndex(
            model_name='modelcall',
            index=models.Index(condition=Q(bot_id__isnull=False), fields=['bot_id'], name='calls_of_a_bot'),
        ),
    ]
