from django.db import migrations, models

from bedrock_chat.migrations._operations import AddIndexConcurrently


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ('conversations', '0013_review'),
    ]

    operations = [
        AddIndexConcurrently(
            model_name='conversation',
            index=models.Index(condition=models.Q(('feedback__isnull', False)), fields=['id'], name='conversations_rated'),
        ),
        AddIndexConcurrently(
            model_name='message',
            index=models.Index(condition=models.Q(('feedback__isnull', False)), fields=['id'], name='messages_rated'),
        ),
    ]
