from django.db import migrations, models

from bedrock_chat.migrations._operations import add_text


class Migration(migrations.Migration):
    dependencies = [('bedrock_chat', '0014_cost_of_search_terms')]

    operations = [
        migrations.SeparateDatabaseAndState(
            [add_text('conversations_modelcall', 'user_label', 128)],
            [
                migrations.AddField(
                    model_name='modelcall',
                    name='user_label',
                    field=models.CharField(
                        blank=True,
                        db_default='',
                        default='',
                        help_text='Whom an integrator asked for.',
                        max_length=128,
                    ),
                ),
            ],
        ),
    ]
