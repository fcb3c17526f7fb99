from django.db import migrations
from django.db.models import F, Max

AT_A_TIME = 5_000


def fill(apps, schema_editor):
    """Whoever asked has paid. A few thousand rows in each transaction, so that others may write in between.

    Cut short, it is run again, and goes over what is filled already without changing it.
    """
    calls = apps.get_model('bedrock_chat', 'ModelCall').objects.using(schema_editor.connection.alias)
    last = calls.aggregate(last=Max('pk'))['last'] or 0
    for start in range(0, last, AT_A_TIME):
        batch = calls.filter(pk__gt=start, pk__lte=start + AT_A_TIME, payer_id__isnull=True, user_id__isnull=False)
        batch.update(payer_id=F('user_id'))


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ('bedrock_chat', '0007_payer_and_turn'),
    ]

    operations = [
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
