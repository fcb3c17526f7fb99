"""Fills the lists bench's tables and opens pages of them, in the environment of the server: one JSON line."""

import json
import sys
import time
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import django

django.setup()

from django.db import connection, transaction  # noqa: E402
from django.db.models import Model  # noqa: E402
from django.test import Client  # noqa: E402
from django.utils import timezone  # noqa: E402

from bedrock_chat.audit import verbs  # noqa: E402
from bedrock_chat.audit.models import AuditEntry  # noqa: E402
from bedrock_chat.blobs.models import Blob  # noqa: E402
from bedrock_chat.identity.models import User  # noqa: E402
from bedrock_chat.jobs.models import Job, State  # noqa: E402
from bedrock_chat.ledger.models import ModelCall, ToolCall  # noqa: E402
from conversations.models import Conversation, Message, Role  # noqa: E402
from publication.models import TurnRequest  # noqa: E402
from tests.bench import load, series  # noqa: E402
from tests.bench.progress import say  # noqa: E402

NOW = timezone.now()
TWO_YEARS = timedelta(days=730)
PEOPLE = 5_000
BATCH = 100_000

HEX = {"sqlite": "lower(hex(zeroblob(28))) || printf('%08x', i)", "postgresql": "lpad(to_hex(i), 64, '0')"}
PERSON = f"'person-' || (i * 7919 % {PEOPLE})"
THUMB = {
    "sqlite": """'{"thumbsUp": false, "category": "other", "comment": "Why?"}'""",
    "postgresql": """'{"thumbsUp": false, "category": "other", "comment": "Why?"}'::jsonb""",
}


@dataclass(frozen=True)
class Listed:
    """A table that one page lists: a row, of which columns are written anew for each by SQL, and what is asked of it.

    Queries are divided by blanks, and may name `middle`, a key in the middle of the table. They ask for frequent and
    rare values, with and without an index, and for some that no row has.
    """

    address: str
    row: Model
    columns: dict[str, str]
    queries: str = ""


def tables(rows: int) -> list[Listed]:
    """What is filled, in this order: messages are of the conversations before them."""
    at = series.moment(NOW, TWO_YEARS, rows)
    call = {"user_id": PERSON, "payer_id": PERSON, "created_at": at, "bot_id": "'bot-' || (i % 997)"}
    asker = {"user_id": "u", "payer_id": "u", "created_at": NOW, "conversation_external_id": "c"}
    thumb = f"CASE WHEN i % 1000 = 7 THEN {THUMB[connection.vendor]} END"
    return [
        Listed(
            "bedrock_chat/modelcall",
            ModelCall(**asker, purpose="turn", model="claude-v4.5-sonnet", latency_ms=900, price=1),
            {**call, "fault": "CASE WHEN i % 1000 = 7 THEN 'ModelErrorException' ELSE '' END"},
            "payer=person-7 payer=nobody bot=bot-5 bot=none user=person-7 user=nobody q=person-7 q=nobody "
            "fault=ModelErrorException fault=ProcessLost fault=ProcessLost&user=person-7 days=7 days=7&user=nobody "
            "model=amazon-nova-pro fault=ModelErrorException&after={middle}",
        ),
        Listed(
            "bedrock_chat/toolcall",
            ToolCall(**asker, turn_id="t", tool="internet_search", kind="internet", duration_ms=1, outcome="success"),
            {**call, "outcome": "CASE WHEN i % 1000 = 7 THEN 'timeout' ELSE 'success' END"},
            "payer=person-7 user=person-7 user=nobody outcome=timeout tool=none days=7",
        ),
        Listed(
            "bedrock_chat/auditentry",
            AuditEntry(at=NOW, verb=verbs.EXPORT_USER, target_kind="user", actor_kind="operator"),
            {"at": at, "target_id": PERSON, "actor_id": "'operator-' || (i % 50)"},
            "q=person-7 q=nobody about=person-7 actor=operator-7 actor=nobody verb=export+user kind=job "
            "kind=job&actor=operator-7 days=7 days=7&kind=job",
        ),
        Listed(
            "bedrock_chat/job",
            Job(kind="make rollups", state=State.DEAD, attempt=8, reason="OSError", due_at=NOW, created_at=NOW),
            {"created_at": at, "due_at": at},
            "state__exact=dead state__exact=queued kind=make+rollups kind=sweep q=1 q=none",
        ),
        Listed(
            "bedrock_chat/blob",
            Blob(generation="", size=1000, stored_at=NOW),
            {"sha256": HEX[connection.vendor], "stored_at": at},
        ),
        Listed(
            "conversations/conversation",
            Conversation(model="claude-v4.5-sonnet", title="", updated_at=NOW),
            {
                "external_id": "'conversation-' || i",
                "user_id": PERSON,
                "bot_id": "'bot-' || (i % 997)",
                "created_at": at,
                "feedback": thumb,
            },
            "user=person-7 user=nobody bot=bot-7 bot=none publication=none model=amazon-nova-pro days=7 "
            "days=7&user=person-7 q=conversation-77 q=nothing",
        ),
        Listed("conversations/ratedconversation", Conversation(), {}, "thumbs=any category=other days=7"),
        Listed(
            "conversations/ratedmessage",
            Message(role=Role.ASSISTANT, model="claude-v4.5-sonnet", stop_reason="end_turn"),
            {
                "external_id": "'message-' || i",
                "conversation_id": "(i + {conversation})",
                "parent_id": "{question}",
                "created_at": at,
                "feedback": thumb,
            },
            "thumbs=any category=other category=none days=7",
        ),
        Listed(
            "publication/turnrequest",
            TurnRequest(model="claude-v4.5-sonnet", done_at=NOW),
            {
                "message_id": "'m-' || i",
                "conversation_id": "'c-' || i",
                "publication_id": "'p-' || (i % 997)",
                "key_id": "'k-' || (i % 997)",
                "accepted_at": at,
            },
            "q=p-7 q=k-7 q=c-777 q=m-777 q=nothing model=amazon-nova-pro",
        ),
    ]


def fill(table: Listed, rows: int) -> None:
    """Writes so many rows. What `columns` do not name is as it is in the row."""
    meta, compiled = table.row._meta, []
    parameters = []
    for column in meta.concrete_fields:
        if column.primary_key and column.column not in table.columns:
            continue
        if column.column in table.columns:
            compiled.append((column.column, table.columns[column.column]))
        else:
            compiled.append((column.column, f"CAST(%s AS {column.db_type(connection)})"))
            parameters.append(column.get_db_prep_save(getattr(table.row, column.attname), connection))
    names = ", ".join(connection.ops.quote_name(name) for name, _ in compiled)
    values = ", ".join(sql.replace("%", "%%") if "%s" not in sql else sql for _, sql in compiled)
    for low in range(0, rows, BATCH):
        numbered = series.numbers(low, min(rows, low + BATCH))
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"{numbered}INSERT INTO {meta.db_table} ({names}) SELECT {values} FROM numbers", parameters)


def with_parents(table: Listed) -> Listed:
    """Messages: each is the answer to one question, in a conversation of its own."""
    first = Conversation.objects.order_by("pk").values_list("pk", flat=True)[0]
    question = Message.objects.create(
        conversation_id=first,
        external_id="question",
        role=Role.USER,
        outcome="answered",
        model="claude-v4.5-sonnet",
        created_at=NOW,
        content_digest="",
    )
    numbers = {"{question}": str(question.pk), "{conversation}": str(first)}
    columns = {name: numbers.get(sql, sql.replace("{conversation}", str(first))) for name, sql in table.columns.items()}
    return replace(table, columns=columns)


def pages(client: Client, table: Listed, rounds: int) -> dict[str, Any]:
    """How long each page takes: p50 and p95 of what passes, and of this process's CPU."""
    keys = type(table.row)._default_manager.order_by("pk").values_list("pk", flat=True)
    middle = keys[keys.count() // 2]
    figures = {}
    for query in ["", f"after={middle}", f"before={middle}", *table.queries.format(middle=middle).split()]:
        passed, cpu = [], []
        for _ in range(rounds + 1):
            began, cpu_began = time.perf_counter(), time.process_time()
            response = client.get(f"/console/{table.address}/?{query}")
            passed.append((time.perf_counter() - began) * 1000)
            cpu.append((time.process_time() - cpu_began) * 1000)
            assert response.status_code == 200, (table.address, query, response.status_code)
        figures[query] = load.shares(passed[1:], cpu[1:])  # the first reads the disk
    return figures


def main() -> None:
    rows, rounds, part = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    User.objects.bulk_create(
        User(id=f"person-{number}", username=f"person-{number}", password="!") for number in range(PEOPLE)
    )
    operator = User.objects.create(id="local:olga", login="olga", username="olga", is_staff=True, is_superuser=True)
    client = Client(headers={"host": "localhost"})
    client.force_login(operator)
    listed = [table for table in tables(rows) if part in table.address]
    for table in listed:
        if table.columns:
            fill(with_parents(table) if isinstance(table.row, Message) else table, rows)
            say(f"{table.address}: {rows:,} rows")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    print(json.dumps({table.address: pages(client, table, rounds) for table in listed}))


main()
