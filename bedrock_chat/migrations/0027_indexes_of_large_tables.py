from django.db import migrations, models

from bedrock_chat.migrations._operations import AddIndexConcurrently


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ('bedrock_chat', '0026_called_off_erasures'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='modelcall',
            index=models.Index(condition=models.Q(('payer_id__isnull', False)), fields=['payer_id', 'created_at'], name='calls_of_a_payer'),
        ),
        AddIndexConcurrently(
            model_name='auditentry',
            index=models.Index(condition=models.Q(('target_kind', 'audit'), ('verb', 'expire')), fields=['id'], name='expiries_of_the_audit'),
        ),
    ]
