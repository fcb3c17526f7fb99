"""The ledger comes into the kernel: its table stays as it is, and so do the names of its indexes and constraints."""

from django.db import migrations, models
from django.db.models import Q


def move_content_type(apps, schema_editor, source='conversations', target='bedrock_chat'):
    """What operators were permitted, and the console's history, refer to the content type: it moves along.

    `migrate` makes content types at its end; before it was ever run there is none to be moved.
    """
    types = apps.get_model('contenttypes', 'ContentType').objects.using(schema_editor.connection.alias)
    if not types.filter(app_label=target, model='modelcall').exists():
        types.filter(app_label=source, model='modelcall').update(app_label=target)


def move_content_type_back(apps, schema_editor):
    move_content_type(apps, schema_editor, source='bedrock_chat', target='conversations')


class Migration(migrations.Migration):

    dependencies = [
        ('bedrock_chat', '0005_blob_generations'),
        ('contenttypes', '0002_remove_content_type_name'),
        # The table is made by `conversations`, where the ledger stood first.
        ('conversations', '0004_indexed_at'),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.CreateModel(
                    name='ModelCall',
                    fields=[
                        ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                        ('created_at', models.DateTimeField(db_index=True)),
                        ('purpose', models.CharField(choices=[('turn', 'Turn'), ('title', 'Title')], max_length=5)),
                        ('user_id', models.CharField(blank=True, db_index=True, max_length=128, null=True)),
                        ('publication_id', models.CharField(blank=True, db_index=True, max_length=256, null=True)),
                        ('key_id', models.CharField(blank=True, db_index=True, max_length=64, null=True)),
                        ('bot_id', models.CharField(blank=True, db_index=True, max_length=256, null=True)),
                        ('conversation_id', models.CharField(max_length=256)),
                        ('message_id', models.CharField(blank=True, default='', help_text="The question's.", max_length=256)),
                        ('model', models.CharField(max_length=64)),
                        ('model_id', models.CharField(help_text='The Bedrock id or inference profile that was invoked.', max_length=512)),
                        ('region', models.CharField(max_length=32)),
                        ('input_tokens', models.PositiveIntegerField(default=0)),
                        ('output_tokens', models.PositiveIntegerField(default=0)),
                        ('cache_read_tokens', models.PositiveIntegerField(default=0)),
                        ('cache_write_tokens', models.PositiveIntegerField(default=0)),
                        ('input_price', models.DecimalField(blank=True, decimal_places=10, max_digits=16, null=True)),
                        ('output_price', models.DecimalField(blank=True, decimal_places=10, max_digits=16, null=True)),
                        ('cache_read_price', models.DecimalField(blank=True, decimal_places=10, max_digits=16, null=True)),
                        ('cache_write_price', models.DecimalField(blank=True, decimal_places=10, max_digits=16, null=True)),
                        ('price', models.DecimalField(blank=True, decimal_places=10, max_digits=20, null=True)),
                        ('first_token_ms', models.PositiveIntegerField(blank=True, null=True)),
                        ('latency_ms', models.PositiveIntegerField()),
                        ('stop_reason', models.CharField(blank=True, default='', max_length=64)),
                        ('fault', models.CharField(blank=True, default='', help_text="Bedrock's name of the fault, if any.", max_length=64)),
                        ('estimated', models.BooleanField(default=False)),
                    ],
                    options={
                        'db_table': 'conversations_modelcall',
                        'indexes': [models.Index(fields=['conversation_id', 'message_id'], name='call_of_a_question')],
                        'constraints': [models.CheckConstraint(condition=Q(key_id__isnull=False, publication_id__isnull=False, user_id__isnull=True) | Q(key_id__isnull=True, publication_id__isnull=True, user_id__isnull=False), name='call_has_one_caller')],
                    },
                ),
            ],
        ),
        migrations.RunPython(move_content_type, move_content_type_back),
    ]
