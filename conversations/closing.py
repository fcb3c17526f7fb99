"""Closing a turn: the answer, its ledger row and the lease given back, in one short fenced transaction."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from django.db import transaction

from bedrock_chat import statements
from bedrock_chat.database import database_now
from bedrock_chat.wire.errors import Conflict, NotFound
from conversations import content, leases, related
from conversations.chat import Answer, Turn
from conversations.content import Block
from conversations.models import Conversation, Message, ModelCall, Outcome, Role
from conversations.running import Running


class LeaseLost(Exception):
    """Raised by `on_close` of a job that no longer owns its work; nothing of the close is kept."""


class _Refused(Exception):
    """The fence holds: the conversation is gone, or a later attempt owns the question."""


def close_turn(
    running: Running,
    answered: list[Block],
    call: ModelCall,
    *,
    stop_reason: str,
    outcome: Outcome = Outcome.ANSWERED,
    on_close: Callable[[], None] | None = None,
) -> Answer:
    """Stores the answer, what its tools found and its ledger row, fenced by the attempt, and gives the lease back. One
    short transaction, after the bodies of what was found are in storage.

    Raises NotFound where the conversation was deleted meanwhile, Conflict where another attempt has taken over, and
    what `on_close` raises; the money was spent, so the ledger row is written all the same.
    """
    turn = running.turn
    found = related.keep(turn, running.documents)
    with running.closing():
        try:
            with transaction.atomic():
                now = database_now()
                deleted = not _touch(turn, now)
                if deleted or not _give_back(turn, outcome=outcome):
                    raise _Refused
                answer = write_answer(turn, answered, stop_reason, now, stored=running.stored)
                related.write(turn, found)
                statements.insert(call)
                if on_close is not None:
                    on_close()
        except (_Refused, LeaseLost) as error:
            statements.insert(call)
            if isinstance(error, LeaseLost):
                raise
            if deleted:
                gone = f"Conversation {turn.chat.conversation_id} was deleted meanwhile."
                raise NotFound(gone, extra=turn.ids) from None
            raise Conflict("Another attempt has taken over this message.", extra=turn.ids) from None
    return answer


def close_failed(running: Running, call: ModelCall | None) -> None:
    """Gives the lease back at once; what the rows say of the turn was true before it began."""
    with running.closing(), transaction.atomic():
        _give_back(running.turn)
        if call is not None:
            statements.insert(call)


def _touch(turn: Turn, now: datetime) -> bool:
    """Locks the conversation first, as a deletion does: the answer cannot slip in between its two statements."""
    return bool(statements.update(Conversation, {"pk": turn.conversation}, updated_at=now))


def _give_back(turn: Turn, **columns: object) -> bool:
    return write_question(turn, lease_holder="", lease_expires_at=None, continues=None, **columns)


def write_question(turn: Turn, **columns: object) -> bool:
    """Sets columns of the question's row; False where another attempt owns it by now."""
    mine = {"pk": turn.question, "attempt": turn.attempt, "lease_holder": leases.HOLDER}
    return bool(statements.update(Message, mine, **columns))


def write_answer(turn: Turn, answered: list[Block], stop_reason: str, now: datetime, *, stored: bool) -> Answer:
    """Writes what the model has said: all of it, or so far. `stored` where the answer has its row already."""
    answer = Answer(
        conversation_id=turn.chat.conversation_id,
        created_at=turn.created_at,
        bot_id=None,
        message_id=turn.answer_id,
        parent_id=turn.question_id,
        model=turn.chat.model.key,
        stop_reason=stop_reason,
        content=answered,
    )
    if turn.extends:
        answer = replace(answer, content=content.extend(turn.bodies[turn.extends.pk], answered))
        statements.update(Message, {"pk": turn.extends.pk}, content=answer.content, stop_reason=stop_reason)
        return answer
    if stored:
        where = {"conversation_id": turn.conversation, "message_id": answer.message_id}
        statements.update(Message, where, content=answered, stop_reason=stop_reason)
        return answer
    row = Message(
        conversation_id=turn.conversation,
        message_id=answer.message_id,
        parent_id=turn.question,
        role=Role.ASSISTANT,
        attempt=turn.attempt,
        stop_reason=stop_reason,
        model=answer.model,
        created_at=now,
        content_digest="",
        content=answered,
    )
    statements.insert(row)
    return answer
