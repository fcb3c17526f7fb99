from django.db import migrations
from django.db.models import Max

AT_A_TIME = 1_000


def index_anew(apps, schema_editor):
    """Symbols were no tokens. The periodic job indexes all conversations anew; until then searches use the old index."""
    conversations = apps.get_model('conversations', 'Conversation').objects.using(schema_editor.connection.alias)
    last = conversations.aggregate(last=Max('pk'))['last'] or 0
    for start in range(0, last, AT_A_TIME):
        of_users = conversations.filter(pk__gt=start, pk__lte=start + AT_A_TIME, user__isnull=False)
        of_users.update(indexed_at=None)


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ('conversations', '0008_fill_conversation_size'),
    ]

    operations = [
        migrations.RunPython(index_anew, migrations.RunPython.noop, elidable=True),
    ]
