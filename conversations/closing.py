"""Closing a turn: the answer, its ledger row and the lease given back, in one short fenced transaction."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from django.db import IntegrityError, transaction

from bedrock_chat import statements
from bedrock_chat.database import database_now
from bedrock_chat.jobs.queue import LeaseLost
from bedrock_chat.ledger import recording
from bedrock_chat.wire.errors import Conflict, NotFound
from bedrock_chat.wire.ids import new_id
from conversations import content, leases, related
from conversations.chat import Answer, OpenTurn
from conversations.content import Block
from conversations.models import Conversation, Message, Outcome, Role
from conversations.running import RunningTurn


class _Refused(Exception):
    """The fence holds: the conversation is gone, or a later attempt owns the question."""


def close_turn(
    running: RunningTurn,
    answered: list[Block],
    *,
    stop_reason: str,
    outcome: Outcome = Outcome.ANSWERED,
    on_close: Callable[[], None] | None = None,
) -> Answer:
    """Stores the answer, what its tools found and its ledger rows, fenced by the attempt, and gives the lease back. One
    short transaction, after the bodies of what was found are in storage.

    Raises NotFound where the conversation was deleted meanwhile, Conflict where another attempt has taken over, and
    what `on_close` raises; the money was spent, so the ledger rows are written all the same.
    """
    found = related.keep(running.turn, running.documents)
    with running.closing():
        try:
            return _close(running, answered, found, stop_reason, outcome, on_close)
        except IntegrityError:
            # The client has given a question of its own the id that this answer was to have.
            running.answer_external_id = new_id()
            return _close(running, answered, found, stop_reason, outcome, on_close)


def _close(
    running: RunningTurn,
    answered: list[Block],
    found: related.Found,
    stop_reason: str,
    outcome: Outcome,
    on_close: Callable[[], None] | None,
) -> Answer:
    turn = running.turn
    try:
        with transaction.atomic():
            now = database_now()
            deleted = not _touch(turn, now)
            if deleted or not _give_back(turn, outcome=outcome):
                raise _Refused
            answer = write_answer(running, answered, stop_reason, now)
            related.write(turn, running.answer_external_id, found)
            recording.insert(running.calls)
            if on_close is not None:
                on_close()
    except (_Refused, LeaseLost) as error:
        recording.insert_late(running.calls)
        if isinstance(error, LeaseLost):
            raise
        if deleted:
            raise _gone(turn) from None
        raise Conflict("Another attempt has taken over this message.", extra=turn.ids) from None
    return answer


def _gone(turn: OpenTurn) -> NotFound:
    return NotFound(f"Conversation {turn.chat.conversation_external_id} was deleted meanwhile.", extra=turn.ids)


def close_failed(running: RunningTurn) -> None:
    """Gives the lease back at once; what the rows say of the turn was true before it began.

    Raises NotFound where the conversation was deleted meanwhile.
    """
    turn = running.turn
    with running.closing(), transaction.atomic():
        kept = _give_back(turn) or Conversation.objects.filter(pk=turn.conversation).exists()
        if kept:
            recording.insert(running.calls)
    if not kept:
        recording.insert_late(running.calls)
        raise _gone(turn)


def _touch(turn: OpenTurn, now: datetime) -> bool:
    """Locks the conversation first, as a deletion does: the answer cannot slip in between its two statements."""
    return bool(statements.update(Conversation, {"pk": turn.conversation}, updated_at=now))


def _give_back(turn: OpenTurn, **columns: object) -> bool:
    return write_question(turn, lease_holder="", lease_expires_at=None, continues=None, **columns)


def write_question(turn: OpenTurn, **columns: object) -> bool:
    """Sets columns of the question's row; False where another attempt owns it by now."""
    mine = {"pk": turn.question, "attempt": turn.attempt, "lease_holder": leases.HOLDER}
    return bool(statements.update(Message, mine, **columns))


def write_answer(running: RunningTurn, answered: list[Block], stop_reason: str, now: datetime) -> Answer:
    """Writes what the model has said: all of it, or so far."""
    turn = running.turn
    answer = Answer(
        conversation_external_id=turn.chat.conversation_external_id,
        created_at=turn.created_at,
        bot_id=None,
        external_id=running.answer_external_id,
        question_external_id=turn.question_external_id,
        model=turn.chat.model.key,
        stop_reason=stop_reason,
        content=answered,
    )
    if turn.extends:
        answer = replace(answer, content=content.extend(turn.bodies[turn.extends.pk], answered))
        statements.update(Message, {"pk": turn.extends.pk}, content=answer.content, stop_reason=stop_reason)
        return answer
    if running.stored:
        where = {"conversation_id": turn.conversation, "external_id": answer.external_id}
        statements.update(Message, where, content=answered, stop_reason=stop_reason)
        return answer
    row = Message(
        conversation_id=turn.conversation,
        external_id=answer.external_id,
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
