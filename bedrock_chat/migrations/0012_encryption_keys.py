from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('bedrock_chat', '0011_audit'),
    ]

    operations = [
        migrations.CreateModel(
            name='EncryptionKey',
            fields=[
                ('fingerprint', models.CharField(max_length=16, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
            ],
        ),
    ]
