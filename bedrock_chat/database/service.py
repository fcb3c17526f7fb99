"""How the database is used by a process that stays: a server or a worker. Commands keep Django's ways."""

from pathlib import Path

from django.db import DEFAULT_DB_ALIAS, connections

from bedrock_chat.database import waiting
from bedrock_chat.database.sqlite import base as sqlite
from bedrock_chat.database.sqlite.checkpoints import Checkpointer


def begin(seconds: float) -> None:
    """Call this once, before the first statement.

    On PostgreSQL no statement waits longer than so many seconds; a migration may take hours. On SQLite all transactions
    run on one connection, and a thread of its own does the checkpoints.
    """
    waiting.enforce(seconds)
    connection = connections[DEFAULT_DB_ALIAS]
    if isinstance(connection, sqlite.DatabaseWrapper):
        sqlite.begin_service()
        Checkpointer(Path(connection.settings_dict["NAME"]), connection.writers.queue).start()
