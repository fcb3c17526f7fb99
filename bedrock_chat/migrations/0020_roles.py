from django.db import migrations

ROLES = ['viewer', 'support', 'admin']


def make_roles(apps, schema_editor):
    groups = apps.get_model('auth', 'Group').objects.using(schema_editor.connection.alias)
    for name in ROLES:
        groups.get_or_create(name=name)


class Migration(migrations.Migration):
    """The roles of operators. What each may do stands in the code."""

    dependencies = [
        ('bedrock_chat', '0019_retention'),
        ('auth', '0012_alter_user_first_name_max_length'),
    ]

    operations = [migrations.RunPython(make_roles, migrations.RunPython.noop)]
