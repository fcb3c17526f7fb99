from django.db import migrations
from django.db.models import Max

AT_A_TIME = 200


def fill(apps, schema_editor):
    """Adds up what is stored already. A few conversations in each transaction, so that others may write in between.

    Cut short, it is run again, and leaves those alone that have a size. A file counts once here.
    """
    is_postgresql = schema_editor.connection.vendor == 'postgresql'
    length = 'octet_length(content::text)' if is_postgresql else 'length(CAST(content AS BLOB))'
    conversations = apps.get_model('conversations', 'Conversation').objects.using(schema_editor.connection.alias)
    last = conversations.aggregate(last=Max('pk'))['last'] or 0
    for start in range(0, last, AT_A_TIME):
        schema_editor.execute(
            f"""
            UPDATE conversations_conversation SET size =
                (SELECT COALESCE(SUM({length}), 0) FROM conversations_message
                 WHERE conversation_id = conversations_conversation.id)
              + (SELECT COALESCE(SUM(blob.size), 0) FROM bedrock_chat_blobreference reference
                 JOIN bedrock_chat_blob blob ON blob.sha256 = reference.blob_id
                 WHERE reference.owner_kind = 'conversation' AND reference.owner_id = conversations_conversation.id)
            WHERE size IS NULL AND id > %s AND id <= %s
            """,
            [start, start + AT_A_TIME],
        )


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ('conversations', '0007_conversation_size'),
        ('bedrock_chat', '0005_blob_generations'),
    ]

    operations = [
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
