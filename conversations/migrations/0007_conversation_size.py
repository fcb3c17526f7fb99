from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('conversations', '0006_external_ids'),
    ]

    operations = [
        migrations.AddField(
            model_name='conversation',
            name='size',
            field=models.PositiveBigIntegerField(
                blank=True,
                help_text='Bytes of its messages and of their files, each as often as it was sent.',
                null=True,
            ),
        ),
    ]
