"""Deleting old entries: the one way by which an entry leaves."""

from collections.abc import Iterator
from datetime import timedelta

from django.db import connection, transaction

from bedrock_chat.audit.models import AuditEntry
from bedrock_chat.audit.recording import record
from bedrock_chat.audit.verbs import EXPIRE_AUDIT
from bedrock_chat.database.connections import database_now, truncate_log, yield_sqlite_lock
from bedrock_chat.database.keys_by_time import first_key_since
from bedrock_chat.identity.caller import Actor

AT_A_TIME = 500


def expire(days: int, *, actor: Actor) -> Iterator[int]:
    """Deletes the entries that are older than some days; yields the number of each batch.

    1. The first batch records the expiry, with the key of the last entry that goes: without that entry the database
       deletes nothing (`append_only`). After an interruption it is known why entries up to there are missing.
    2. Every batch is a short transaction, so that other writers get their turn.
    3. On SQLite the log is emptied, so that no file holds what was deleted.

    Where nothing is old enough, nothing is recorded.
    """
    cutoff = database_now() - timedelta(days=days)
    end = first_key_since(AuditEntry.objects.all(), "at", cutoff)
    old = AuditEntry.objects.filter(pk__lt=end, at__lt=cutoff).order_by("pk").values_list("pk", flat=True)
    is_recorded = False
    while keys := list(old[:AT_A_TIME]):
        with yield_sqlite_lock(), transaction.atomic():
            if not is_recorded:
                record(EXPIRE_AUDIT, str(end - 1), actor=actor, values={"days": days})
            _delete(keys)
        is_recorded = True
        yield len(keys)
    truncate_log()


def _delete(keys: list[int]) -> None:
    """The model's own ways to delete are shut."""
    table, key = map(connection.ops.quote_name, (AuditEntry._meta.db_table, "id"))
    marks = ", ".join(["%s"] * len(keys))
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {table} WHERE {key} IN ({marks})", keys)  # noqa: S608  names of ours
