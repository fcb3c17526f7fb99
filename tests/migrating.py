"""Migrates a database that an earlier version filled, and prints what became of it. `test_migrations` runs it.

It is a process of its own, since no other test may share its database. `DATABASE_URL` names the database.
"""

import json
import sys
from typing import Any

import django

django.setup()

from django.contrib.auth.models import Permission  # noqa: E402
from django.contrib.contenttypes.models import ContentType  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import IntegrityError, connection, models, transaction  # noqa: E402
from django.db.migrations.executor import MigrationExecutor  # noqa: E402
from django.utils import timezone  # noqa: E402

BEFORE = [("conversations", "0004_indexed_at"), ("bedrock_chat", "0005_blob_generations")]
"""The newest migrations of the first server."""
BEFORE_BLAME = [("bots", "0010_knowledge_without_lock_of_bot")]
"""The last migration with which a failure did not say whose fault it was."""
HOT = ("conversations_conversation", "conversations_message", "conversations_modelcall")
"""The tables that a turn writes."""


def fill(apps: Any) -> None:
    """Stores what that server would have: two users' conversations, their calls, and an operator's permission."""
    now = timezone.now()
    conversations, users = apps.get_model("conversations", "Conversation"), apps.get_model("bedrock_chat", "User")
    messages, calls = apps.get_model("conversations", "Message"), apps.get_model("conversations", "ModelCall")
    for name in ("alice", "bob"):
        user = users.objects.create(id=name, username=name, password="!")
        facts = {"model": "claude-v4.5-sonnet", "created_at": now}
        conversation = conversations.objects.create(
            conversation_id="c1", user=user, updated_at=now, last_question="q", **facts
        )
        asks = {"role": "user", "outcome": "answered", "content": [{"contentType": "text", "body": f"{name} asks"}]}
        question = messages.objects.create(
            conversation=conversation, message_id="q", content_digest="x", **facts, **asks
        )
        answers = {"role": "assistant", "parent": question, "content_digest": "", "stop_reason": "end_turn"}
        messages.objects.create(conversation=conversation, message_id="a", content=asks["content"], **facts, **answers)
        spent = {"region": "us-east-1", "latency_ms": 5, "input_tokens": 11, "model_id": "x"}
        calls.objects.create(purpose="turn", user_id=name, conversation_id="c1", message_id="q", **facts, **spent)
    calls.objects.create(
        purpose="turn", publication_id="p", key_id="k", conversation_id="c2", message_id="q", **facts, **spent
    )
    connection.check_constraints()
    kind = ContentType.objects.create(app_label="conversations", model="modelcall")
    view = Permission.objects.create(content_type=kind, codename="view_modelcall", name="Can view model call")
    users.objects.get(pk="alice").user_permissions.add(view.pk)


def delete_one(apps: Any) -> int:
    """Makes a conversation and deletes it. Returns its key, which no other one may ever get."""
    now = timezone.now()
    columns = {"user_id": "alice", "model": "x", "created_at": now, "updated_at": now}
    row = apps.get_model("conversations", "Conversation").objects.create(conversation_id="deleted", **columns)
    key: int = row.pk
    row.delete()
    return key


def fail_syncs(apps: Any) -> None:
    """Stores a bot's knowledge whose sync has failed and one whose sync has not, each with a source and a document."""
    models_of_bots = {name: apps.get_model("bots", name).objects for name in ("Knowledge", "Source", "Document")}
    for state, reason in (("FAILED", "s3://b/: There is no such bucket."), ("SUCCEEDED", "")):
        knowledge = models_of_bots["Knowledge"].create(
            sync_status=state, sync_status_reason=reason, asked_at=timezone.now()
        )
        source = models_of_bots["Source"].create(
            knowledge=knowledge, kind="s3", location="s3://b/", state="failed" if reason else "listed", reason=reason
        )
        facts = {"state": "failed", "reason": "answered 403."} if reason else {"state": "ready"}
        models_of_bots["Document"].create(knowledge=knowledge, source=source, location="s3://b/a.txt", **facts)


def indexes() -> dict[str, list[list[str]]]:
    """Table → the columns of each index that serves no constraint. Each is a page more that a turn writes."""
    columns = {}
    with connection.cursor() as cursor:
        for model in HOT:
            constraints = connection.introspection.get_constraints(cursor, model)
            plain = [rule for rule in constraints.values() if rule["index"] and not rule["unique"]]
            columns[model] = sorted(rule["columns"] for rule in plain if not rule["primary_key"])
    return columns


def schema() -> dict[str, list[str]]:
    """Names of the tables, their columns, and their constraints, with those indexes that serve one."""
    with connection.cursor() as cursor:
        tables = [name for name in connection.introspection.table_names(cursor) if "search" not in name]
        return {
            table: sorted(
                [column.name for column in connection.introspection.get_table_description(cursor, table)]
                + [
                    name
                    for name, rule in connection.introspection.get_constraints(cursor, table).items()
                    if not name.startswith("__unnamed") and not name.endswith("_check")  # the database chose the name
                    if not rule["index"] or rule["unique"]
                ]
            )
            for table in tables
        }


def places() -> dict[str, int]:
    """Where each table of ours lies in the database's files: copying a table gives it another place."""
    sql = "SELECT name, rootpage FROM sqlite_master WHERE type = 'table'"
    if connection.vendor == "postgresql":
        sql = "SELECT relname, relfilenode FROM pg_class WHERE relkind = 'r'"
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return {
            name: place for name, place in cursor.fetchall() if name.startswith(("conversations_", "bedrock_chat_"))
        }


def remake(model: type[models.Model]) -> None:
    """Alters a field that no migration has touched, which on SQLite copies the table, and alters it back."""
    old = model._meta.get_field("model")
    wider = old.clone()
    wider.max_length = old.max_length + 1
    wider.set_attributes_from_name("model")
    wider.model = model
    with connection.schema_editor() as editor:
        editor.alter_field(model, old, wider)
    with connection.schema_editor() as editor:
        editor.alter_field(model, wider, old)


def refusals(model: type[models.Model], broken: list[dict[str, Any]]) -> list[bool]:
    """For each set of columns, whether the database refuses to write them into a row."""
    refused = []
    for columns in broken:
        try:
            with transaction.atomic():
                model._default_manager.filter(pk=model._default_manager.earliest("pk").pk).update(**columns)
                refused.append(False)
        except IntegrityError:
            refused.append(True)
    return refused


def main() -> None:
    executor = MigrationExecutor(connection)
    old_apps = executor.migrate(BEFORE).apps
    fill(old_apps)
    deleted_key = delete_one(old_apps)
    schema_before, places_before = schema(), places()
    fail_syncs(MigrationExecutor(connection).migrate(BEFORE_BLAME).apps)
    call_command("migrate", verbosity=0)
    schema_after, indexes_after, places_after = schema(), indexes(), places()

    from bedrock_chat.identity.models import User
    from bedrock_chat.ledger.models import ModelCall
    from bots.knowledge.models import Document, Knowledge, Source
    from conversations.models import Conversation, Message

    columns = {"model": "x", "created_at": timezone.now(), "updated_at": timezone.now()}
    reuses_keys = Conversation.objects.create(external_id="new", user_id="alice", **columns).pk <= deleted_key
    Conversation.objects.filter(external_id="new").delete()
    for model in (Conversation, Message, ModelCall):
        remake(model)
    report = {
        "lost": {
            table: sorted(set(names) - set(schema_after.get(table, []))) for table, names in schema_before.items()
        },
        "added": {
            table: sorted(set(schema_after.get(table, [])) - set(names)) for table, names in schema_before.items()
        },
        "copied": [table for table, place in places_before.items() if places_after[table] != place],
        "remade": (schema_after, indexes_after) == (schema(), indexes()),
        "indexes": indexes_after,
        "reusesKeys": reuses_keys,
        "sized": [0 < (row.size or 0) < 300 for row in Conversation.objects.order_by("pk")],
        "payers": list(ModelCall.objects.order_by("pk").values_list("payer_id", flat=True)),
        "mayView": User.objects.get(pk="alice").has_perm("bedrock_chat.view_modelcall"),
        "contentTypes": list(ContentType.objects.filter(model="modelcall").values_list("app_label", flat=True)),
        "texts": [row.content[0]["body"] for row in Message.objects.order_by("pk")],
        "blames": {
            model.__name__: list(model._default_manager.order_by("pk").values_list("blame", flat=True))
            for model in (Knowledge, Source, Document)
        },
        "refused": {
            "conversation": refusals(Conversation, [{"external_id": ""}, {"publication_id": "p"}]),
            "message": refusals(Message, [{"external_id": "system"}, {"external_id": "a"}, {"outcome": ""}]),
            "call": refusals(ModelCall, [{"key_id": "k"}]),
        },
    }
    report["lost"] = {table: names for table, names in report["lost"].items() if names}
    report["added"] = {table: names for table, names in report["added"].items() if names}
    json.dump(report, sys.stdout)


main()
