"""Calls of tools in the ledger: a row each, and the metrics. Nothing of what a call was asked or gave is kept."""

from collections.abc import Sequence
from typing import Final

from django.db import transaction
from django.utils import timezone

from bedrock_chat.database.compiled_sql import Batch
from bedrock_chat.database.instances import new_row
from bedrock_chat.identity.caller import Caller
from bedrock_chat.identity.models import User
from bedrock_chat.ledger.models import ToolCall
from bedrock_chat.ledger.recording import erased_id
from bedrock_chat.metrics.instruments import LONG_SECONDS, Counter, Histogram

REFUSED: Final = "refused"
"""The outcome of a call that was not run: the tool is not known, or there were too many."""
UNKNOWN: Final = "unknown"
"""The outcome of a call whose process did not live to its end."""

CALLS = Counter("bedrock_chat_tool_calls_total", "Calls of tools that ended, by the kind of tool.", ("kind", "outcome"))
DURATION = Histogram(
    "bedrock_chat_tool_call_duration_seconds", "How long calls of tools took.", ("kind",), buckets=LONG_SECONDS
)
BYTES = Counter("bedrock_chat_tool_result_bytes_total", "Bytes of tools' results, as the model gets them.", ("kind",))


def build(
    actor: Caller,
    *,
    turn_id: str,
    conversation_external_id: str,
    message_external_id: str,
    bot_id: str | None,
    tool: str,
    kind: str,
    server: str,
    seconds: float,
    bytes_in: int,
    bytes_out: int,
    outcome: str,
) -> ToolCall:
    """The unsaved row of a call that has ended, which is counted in the metrics."""
    CALLS.add(kind or "none", outcome)
    if outcome not in (REFUSED, UNKNOWN):
        DURATION.observe(seconds, kind or "none")
        BYTES.add(kind or "none", amount=bytes_out)
    return new_row(
        ToolCall,
        created_at=timezone.now(),
        user_id=actor.user_id,
        payer_id=actor.payer_id,
        publication_id=actor.publication_id,
        key_id=actor.key_id,
        bot_id=bot_id,
        conversation_external_id=conversation_external_id,
        message_external_id=message_external_id,
        turn_id=turn_id,
        tool=tool[:64],
        kind=kind[:32],
        server=server[:256],
        duration_ms=int(seconds * 1000),
        bytes_in=bytes_in,
        bytes_out=bytes_out,
        outcome=outcome[:32],
    )


def insert(batch: Batch, calls: Sequence[ToolCall]) -> None:
    """Inserts rows in the caller's transaction."""
    for call in calls:
        batch.insert(call)


def insert_late(calls: Sequence[ToolCall]) -> None:
    """Inserts rows in a transaction of their own. Those of somebody who was erased meanwhile name nobody."""
    if not calls:
        return
    with transaction.atomic():
        for call in calls:
            payer = User.objects.select_for_update().filter(pk=call.payer_id).values_list("pk")
            if call.payer_id is not None and not list(payer):
                call.payer_id = erased_id()
                call.user_id = None if call.user_id is None else call.payer_id
        with Batch() as batch:
            insert(batch, calls)
