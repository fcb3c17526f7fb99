from django.db import migrations, models

from bedrock_chat.migrations._operations import AddIndexConcurrently


class Migration(migrations.Migration):
    """Calls that people make themselves are found by who asked: every turn wrote a page for the same once more."""

    atomic = False

    dependencies = [
        ('bedrock_chat', '0033_jobs_by_time'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='modelcall',
            index=models.Index(condition=models.Q(('publication_id__isnull', False)), fields=['payer_id', 'created_at'], name='published_calls_of_a_payer'),
        ),
        migrations.RemoveIndex(
            model_name='modelcall',
            name='calls_of_a_payer',
        ),
    ]
