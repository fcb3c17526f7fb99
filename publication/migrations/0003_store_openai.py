from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('publication', '0002_idempotency'),
    ]

    operations = [
        migrations.AddField(
            model_name='publication',
            name='store_openai',
            field=models.BooleanField(default=False, db_default=False, verbose_name='store chat completions'),
        ),
    ]
