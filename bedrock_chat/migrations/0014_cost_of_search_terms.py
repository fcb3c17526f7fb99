from django.db import migrations

# PostgreSQL takes a function to be as cheap as an operator, and would read a whole table through this one rather than
# ask the index for a query with many alternatives.
COST = "ALTER FUNCTION bedrock_chat_search_terms(text, text) COST 10000"
COST_BACK = "ALTER FUNCTION bedrock_chat_search_terms(text, text) COST 100"


def tell(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(COST)


def take_back(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(COST_BACK)


class Migration(migrations.Migration):

    dependencies = [
        ("bedrock_chat", "0013_upload_links"),
    ]

    operations = [
        migrations.RunPython(tell, take_back),
    ]
