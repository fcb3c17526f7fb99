from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ("publication", "0004_turnrequest_host"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="apikey",
            options={
                "permissions": [
                    ("rotate_apikey", "Can rotate API keys"),
                    ("reveal_apikey", "Can show the values of API keys"),
                    ("top_up_apikey", "Can add to the quotas of API keys"),
                ],
                "verbose_name": "API key",
            },
        ),
        migrations.AlterModelOptions(
            name="gate",
            options={
                "default_permissions": ("view",),
                "verbose_name": "use of limits",
                "verbose_name_plural": "use of limits",
            },
        ),
        migrations.AlterModelOptions(
            name="turnrequest",
            options={"default_permissions": ("view",), "verbose_name": "question"},
        ),
    ]
