from django.db import migrations, models

from bedrock_chat.migrations._operations import add_text


class Migration(migrations.Migration):
    dependencies = [('publication', '0003_store_openai')]

    operations = [
        migrations.SeparateDatabaseAndState(
            [add_text('publication_turnrequest', 'host', 26)],
            [
                migrations.AddField(
                    model_name='turnrequest',
                    name='host',
                    field=models.CharField(blank=True, db_default='', default='', max_length=26),
                ),
            ],
        ),
    ]
