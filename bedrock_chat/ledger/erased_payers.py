"""Rows of published calls whose payer was erased while their turn ran.

A bot may be given away while a turn of its API runs. The former owner pays for that turn, and their erasure does not
wait for it, as it does for all turns of their own.
"""

from collections.abc import Sequence

from django.db import connection

from bedrock_chat.database import compiled_sql
from bedrock_chat.database.compiled_sql import Batch
from bedrock_chat.identity.models import User
from bedrock_chat.ledger.models import ModelCall, ToolCall
from bedrock_chat.ledger.recording import erased_id


def forget(calls: Sequence[ModelCall | ToolCall], *, of_jobs: bool = False) -> None:
    """Rows that are about to be written name nobody where their payer is gone. Call it first in their transaction.

    Until that ends, who pays is not erased. Calls that users make, who pay for themselves, cost no statement: their
    erasure waits for their turns. It does not wait for what jobs do on their behalf (`of_jobs`).
    """
    rows = [call for call in calls if of_jobs or call.publication_id is not None]
    for payer_id in sorted({call.payer_id for call in rows if call.payer_id is not None}):
        if _keep(payer_id):
            continue
        nobody = erased_id()
        for call in rows:
            if call.payer_id != payer_id:
                continue
            call.payer_id = nobody
            call.user_id = None if call.user_id is None else nobody
            if isinstance(call, ModelCall):
                call.user_label = ""
                if call.is_begun:  # perhaps after the erasure
                    where = {"id": call.pk, "payer_id": payer_id}
                    compiled_sql.update(ModelCall, where, payer_id=nobody, user_label="")


def _keep(user_id: str) -> bool:
    """Keeps a user's row from being deleted until the transaction ends, and from nothing else. False: it is gone."""
    lock = " FOR KEY SHARE" if connection.vendor == "postgresql" else ""
    with Batch() as batch:
        rows = batch.run(f"SELECT 1 FROM {User._meta.db_table} WHERE id = %s{lock}", [user_id])  # noqa: S608
    return bool(rows.result)
