"""A database that an earlier version has filled migrates without loss, and later migrations can alter it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.db.migrations import AddConstraint, AddIndex
from django.db.migrations.loader import MigrationLoader

from bedrock_chat.migrations._operations import AddIndexConcurrently
from tests.live import LiveServer

ROOT = Path(__file__).resolve().parent.parent
LARGE = {"conversation", "message", "modelcall", "auditentry", "toolcall", "relateddocument"}
OLD = {"bedrock_chat": "0016", "conversations": "0012"}
"""What was released when large tables were still small."""


def test_indexes_and_constraints_of_large_tables_are_made_while_others_write_to_them() -> None:
    for (app, name), migration in MigrationLoader(None).disk_migrations.items():
        if name[:4] <= OLD.get(app, ""):
            continue
        for operation in migration.operations:
            is_constraint = isinstance(operation, AddConstraint) and operation.model_name.lower() in LARGE
            assert not is_constraint, (name, "add_checked_column copies nothing")
            if isinstance(operation, AddIndex) and operation.model_name.lower() in LARGE:
                assert isinstance(operation, AddIndexConcurrently), (name, operation.index.name)
                assert not migration.atomic, name


@pytest.mark.slow
def test_a_database_of_the_first_server_is_migrated_whole(data: Path, database_url: str) -> None:
    environment = {**LiveServer(data, "").environment, "DATABASE_URL": database_url}
    command = [sys.executable, "-W", "error", "-m", "tests.migrating"]
    environment["DJANGO_SETTINGS_MODULE"] = "bedrock_chat.settings"
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert report == {
        "lost": {
            "conversations_conversation": ["conversation_id"],
            "conversations_message": ["message_id"],
            "conversations_modelcall": ["conversation_id", "message_id"],
        },
        "added": {
            "bedrock_chat_job": [
                # Django does not tell the name of a constraint that came to SQLite with its column.
                *([] if database_url.startswith("sqlite") else ["a_job_in_line_has_a_party"]),
                *("party", "place", "sent_at"),
            ],
            "bedrock_chat_user": ["seen_at"],
            "conversations_conversation": ["external_id", "size"],
            "conversations_message": ["external_id", "rounds", "thinking_log"],
            "conversations_modelcall": [
                "calls",
                "conversation_external_id",
                "groups",
                "message_external_id",
                "payer_id",
                "turn_id",
                "user_label",
            ],
            "conversations_relateddocument": [
                "document_number",
                *([] if database_url.startswith("sqlite") else ["own_document_has_no_stored_link"]),
            ],
        },
        "copied": ["conversations_conversation"] if database_url.startswith("sqlite") else [],
        "remade": True,
        "indexes": {
            "conversations_conversation": [["bot_id"], ["id"], ["updated_at"]],
            "conversations_message": [["conversation_id"], ["id"], ["parent_id"]],
            "conversations_modelcall": [
                ["bot_id"],
                ["key_id"],
                ["payer_id", "created_at"],
                ["publication_id", "conversation_external_id", "message_external_id"],
                ["user_id", "conversation_external_id", "message_external_id"],
            ],
        },
        "reusesKeys": False,
        "sized": [True, True],
        "payers": ["alice", "bob", None],
        "mayView": True,
        "contentTypes": ["bedrock_chat"],
        "texts": ["alice asks", "alice asks", "bob asks", "bob asks"],
        "blames": {"Knowledge": ["operator", ""], "Source": ["operator", ""], "Document": ["source", ""]},
        "refused": {"conversation": [True, True], "message": [True, True, True], "call": [True]},
    }
