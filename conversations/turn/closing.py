"""Closing a turn: the answer, its ledger row and the lease given back, in one short fenced transaction."""

import logging
from collections.abc import Callable
from datetime import datetime

from django.db import DatabaseError, transaction

from bedrock_chat.database import compiled_sql
from bedrock_chat.database.connections import database_now
from bedrock_chat.ledger import recording
from bedrock_chat.wire.errors import Conflict, NotFound
from bedrock_chat.wire.ids import new_id
from conversations import access
from conversations.access import Answer
from conversations.content.blocks import extend
from conversations.content.converse import from_converse
from conversations.models import Conversation, Message, Outcome, Role
from conversations.turn import leases, related_documents
from conversations.turn.registry import RunningTurn
from conversations.turn.types import OpenTurn

logger = logging.getLogger(__name__)


def close_turn(
    running: RunningTurn,
    stop_reason: str,
    *,
    outcome: Outcome = Outcome.ANSWERED,
    on_close: Callable[[], None] | None = None,
) -> Answer:
    """Stores the answer, what its tools found and its ledger rows, and gives the lease back.

    1. The bodies of what tools found are put into storage, outside of any transaction.
    2. A checkpoint that is being written is waited for; none begins afterwards.
    3. One short transaction, fenced by the attempt, writes everything, and calls `on_close` at its end.
    4. Where it was rolled back, the ledger rows are written all the same, since the money was spent.

    Raises NotFound where the conversation was deleted meanwhile, Conflict where another attempt has taken over, and
    what `on_close` raises.
    """
    documents = related_documents.keep(running.turn, running.documents)
    with running.closing():
        try:
            return _close(running, documents, stop_reason, outcome, on_close)
        except BaseException:
            _close_late(running)
            raise


@transaction.atomic
def _close(
    running: RunningTurn,
    documents: related_documents.Kept,
    stop_reason: str,
    outcome: Outcome,
    on_close: Callable[[], None] | None,
) -> Answer:
    turn, now = running.turn, database_now()
    # The conversation is locked first, as a deletion does: the answer cannot slip in between its two statements.
    if not compiled_sql.update(Conversation, {"pk": turn.conversation.pk}, updated_at=now):
        raise _gone(turn)
    if not _give_back(turn, outcome=outcome):
        raise Conflict("Another attempt has taken over this message.", extra=turn.ids)
    answer = write_answer(running, stop_reason, now)
    related_documents.write(turn, answer.external_id, documents)
    recording.insert(running.calls)
    if on_close is not None:
        on_close()
    return answer


def _close_late(running: RunningTurn) -> None:
    """After a close that was rolled back: writes the ledger rows, and gives the lease back if it is still this turn's.

    A database that is away takes nothing. The lease then runs out by itself, and the log tells what was spent.
    """
    try:
        with transaction.atomic():
            _give_back(running.turn)
            recording.insert_late(running.calls)
    except DatabaseError:
        spent = [(call.model_id, call.input_tokens, call.output_tokens, str(call.price)) for call in running.calls]
        logger.exception("the ledger lost the calls of turn %s: %s", running.turn.turn_id, spent)


def _gone(turn: OpenTurn) -> NotFound:
    return NotFound(f"Conversation {turn.conversation.external_id} was deleted meanwhile.", extra=turn.ids)


def close_failed(running: RunningTurn) -> None:
    """Gives the lease back at once; what the rows say of the turn was true before it began.

    Raises NotFound where the conversation was deleted meanwhile.
    """
    turn = running.turn
    with running.closing(), transaction.atomic():
        kept = _give_back(turn) or Conversation.objects.filter(pk=turn.conversation.pk).exists()
        if kept:
            recording.insert(running.calls)
    if not kept:
        recording.insert_late(running.calls)
        raise _gone(turn)


def _give_back(turn: OpenTurn, **columns: object) -> bool:
    return write_question(turn, lease_holder="", lease_expires_at=None, continues=None, **columns)


def write_question(turn: OpenTurn, **columns: object) -> bool:
    """Sets columns of the question's row; False where another attempt owns it by now."""
    fence = {"pk": turn.question_pk, "attempt": turn.attempt, "lease_holder": leases.HOLDER}
    return bool(compiled_sql.update(Message, fence, **columns))


def write_answer(running: RunningTurn, stop_reason: str, now: datetime) -> Answer:
    """Writes what the model has said: all of it, or so far."""
    turn, blocks = running.turn, from_converse(running.answer.blocks())
    row = Message(
        conversation_id=turn.conversation.pk,
        external_id=running.answer_external_id,
        parent_id=turn.question_pk,
        role=Role.ASSISTANT,
        attempt=turn.attempt,
        stop_reason=stop_reason,
        model=turn.chat.model.key,
        created_at=now,
        content_digest="",
        content=blocks,
    )
    if turn.extends:
        row.content = extend(turn.contents[turn.extends.pk], blocks)
        compiled_sql.update(Message, {"pk": turn.extends.pk}, content=row.content, stop_reason=stop_reason)
    elif running.stored:
        stored = {"conversation_id": row.conversation_id, "external_id": row.external_id}
        compiled_sql.update(Message, stored, content=blocks, stop_reason=stop_reason)
    else:
        # The client may have given a question of its own the id that this answer was to have.
        while not compiled_sql.insert_unless_taken(row, unique=("conversation_id", "external_id")):
            row.external_id = running.answer_external_id = new_id()
    return access.stored_answer(turn.conversation, turn.question_external_id, row)
