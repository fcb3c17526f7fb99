from django.db import migrations, models
from django.db.models import Min

from bedrock_chat.migrations._operations import ReplaceCheck, validate_constraint

CONDITION = models.Q(
    ('dimension__in', ['user', 'bot', 'key', 'model', 'group']), ('grain__in', ['day', 'third', 'month'])
)


def begin_months_anew(apps, schema_editor):
    """The job makes thirds with their months, so it makes all months again. Until then reports add up days."""
    Progress = apps.get_model('bedrock_chat', 'Progress')
    Usage = apps.get_model('bedrock_chat', 'DimensionUsage')
    for progress in Progress.objects.filter(months_until__isnull=False):
        first = Usage.objects.filter(dimension='model', grain='day').aggregate(first=Min('day'))['first']
        progress.months_until = (first or progress.months_until).replace(day=1)
        progress.save(update_fields=['months_until'])


def delete_thirds(apps, schema_editor):
    for name in ('DimensionUsage', 'DimensionFault'):
        apps.get_model('bedrock_chat', name).objects.filter(grain='third').delete()


class Migration(migrations.Migration):
    atomic = False  # so that others read and write while PostgreSQL holds the rows against the constraints

    dependencies = [
        ('bedrock_chat', '0030_lines_of_jobs'),
    ]

    operations = [
        migrations.RunPython(migrations.RunPython.noop, delete_thirds, atomic=True),
        migrations.AlterField(
            model_name='dimensionfault',
            name='grain',
            field=models.CharField(choices=[('day', 'Day'), ('third', 'Third'), ('month', 'Month')], max_length=5),
        ),
        migrations.AlterField(
            model_name='dimensionusage',
            name='grain',
            field=models.CharField(choices=[('day', 'Day'), ('third', 'Third'), ('month', 'Month')], max_length=5),
        ),
        ReplaceCheck(
            model_name='dimensionfault',
            constraint=models.CheckConstraint(condition=CONDITION, name='faults_have_grain_and_dimension'),
        ),
        ReplaceCheck(
            model_name='dimensionusage',
            constraint=models.CheckConstraint(condition=CONDITION, name='sum_has_grain_and_dimension'),
        ),
        validate_constraint('bedrock_chat_dimensionfault', 'faults_have_grain_and_dimension'),
        validate_constraint('bedrock_chat_dimensionusage', 'sum_has_grain_and_dimension'),
        migrations.RunPython(begin_months_anew, migrations.RunPython.noop, atomic=True),
    ]
