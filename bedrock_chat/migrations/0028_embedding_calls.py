from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('bedrock_chat', '0027_indexes_of_large_tables'),
    ]

    operations = [
        migrations.AddField(
            model_name='modelcall',
            name='calls',
            field=models.IntegerField(blank=True, help_text='How many calls the row stands for. Empty: one.', null=True),
        ),
        migrations.AlterField(
            model_name='daylatency',
            name='purpose',
            field=models.CharField(choices=[('turn', 'Turn'), ('title', 'Title'), ('trial', 'Trial'), ('embedding', 'Embedding'), ('parsing', 'Parsing')], max_length=32),
        ),
        migrations.AlterField(
            model_name='dayusage',
            name='purpose',
            field=models.CharField(choices=[('turn', 'Turn'), ('title', 'Title'), ('trial', 'Trial'), ('embedding', 'Embedding'), ('parsing', 'Parsing')], max_length=32),
        ),
        migrations.AlterField(
            model_name='latency',
            name='purpose',
            field=models.CharField(choices=[('turn', 'Turn'), ('title', 'Title'), ('trial', 'Trial'), ('embedding', 'Embedding'), ('parsing', 'Parsing')], max_length=32),
        ),
        migrations.AlterField(
            model_name='modelcall',
            name='purpose',
            field=models.CharField(choices=[('turn', 'Turn'), ('title', 'Title'), ('trial', 'Trial'), ('embedding', 'Embedding'), ('parsing', 'Parsing')], max_length=32),
        ),
        migrations.AlterField(
            model_name='quarterusage',
            name='purpose',
            field=models.CharField(choices=[('turn', 'Turn'), ('title', 'Title'), ('trial', 'Trial'), ('embedding', 'Embedding'), ('parsing', 'Parsing')], max_length=32),
        ),
    ]
