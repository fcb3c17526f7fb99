from django.db import migrations, models


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
        migrations.AddIndex(
            model_name="bot",
            index=models.Index(
                condition=models.Q(("sync_status", "FAILED")), fields=["updated_at"], name="bots_not_synced"
            ),
        ),
    ]
