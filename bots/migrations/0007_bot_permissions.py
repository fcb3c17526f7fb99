from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ("bots", "0005_cloning"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="bot",
            options={
                "permissions": [
                    ("pin_bot", "Can pin and unpin bots"),
                    ("unshare_bot", "Can make bots private"),
                    ("transfer_bot", "Can give bots to another owner"),
                ]
            },
        ),
    ]
