"""Closes a turn: writes the answer and its ledger rows and gives the lease back, in one short fenced transaction."""

from collections.abc import Callable
from datetime import datetime

from django.db import DatabaseError, transaction

from bedrock_chat.bedrock.events import StopReason
from bedrock_chat.blobs import storing
from bedrock_chat.database import compiled_sql, waiting
from bedrock_chat.database.compiled_sql import NOW, Batch, Statement
from bedrock_chat.database.instances import new_row
from bedrock_chat.ledger import erased_payers, recording, tool_calls
from bedrock_chat.ledger.budgets import settling
from bedrock_chat.wire.errors import Conflict, NotFound
from bedrock_chat.wire.ids import new_id
from conversations import access
from conversations.access import Answer
from conversations.content import rounds
from conversations.content.blocks import StoredBlock, extend, size_of
from conversations.content.converse import from_converse
from conversations.content.rounds import Log
from conversations.models import BLOB_OWNER, Conversation, Message, Outcome, Role
from conversations.turn import leases, related_documents
from conversations.turn.registry import RunningTurn
from conversations.turn.types import OpenTurn


class TakenOver(Conflict):
    """Another attempt owns the question by now: the lease had run out, and the question was asked again."""

    default_detail = "Another attempt has taken over this message, and has not answered it; send it again."


def close_turn(
    running: RunningTurn,
    stop_reason: str,
    *,
    outcome: Outcome = Outcome.ANSWERED,
    on_close: Callable[[], None] | None = None,
) -> Answer:
    """Stores the answer, the documents that its tools found and its ledger rows, and gives the lease back.

    1. The files of those documents are put into storage, outside of any transaction.
    2. If a checkpoint is being written, the turn waits for it. No other one begins afterwards.
    3. One short transaction, fenced by the attempt, writes everything, and calls `on_close` at its end (`_close`). If
       the database is away, it waits as long as any statement may: the answer was paid for.
    4. If it was rolled back, the ledger rows are written all the same, since the money was spent (`_close_late`).

    Raises NotFound if the conversation was deleted meanwhile, TakenOver if another attempt owns the question by now,
    and whatever `on_close` raises.
    """
    documents = related_documents.keep(running.turn, running.documents)
    with running.closing():
        try:
            with waiting.patiently():
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
    """The transaction that closes a turn.

    1. Of a published turn, the row of who pays is locked, before all others, as an erasure does.
    2. The conversation's row gets a new size, which also locks it.
    3. The question's row gets its outcome and gives the lease back.
    4. The answer and the ledger rows are written.
    5. NotFound if the conversation's row is gone. TakenOver if another attempt owns the question's row.
    6. If search has indexed the conversation since the turn was opened, it is marked to be indexed again.
    7. The documents are written, what the calls used is counted (`settling`), and `on_close` is called.

    Steps 2 to 4 are one round trip. Whatever raises, everything is rolled back.
    """
    erased_payers.forget([*running.unwritten_calls, *running.tool_calls])
    turn, blocks = running.turn, _blocks(running, stop_reason)
    grown_by = size_of(blocks) + documents.size
    if running.rounds:
        grown_by += rounds.size_of(_own_log(running)) + running.file_bytes
    with Batch() as batch:
        # A deletion locks the conversation first too, so no answer can be inserted between its statements.
        times = ("updated_at", "indexed_at")
        conversations = batch.update_and_select(Conversation, times, {"pk": turn.conversation.pk}, {"size": grown_by})
        questions = _give_back(batch, turn, **_rounds_left(running, outcome), outcome=outcome)
        row, is_free = write_answer(batch, running, stop_reason)
        recording.insert(batch, running.unwritten_calls)
        tool_calls.insert(batch, running.tool_calls)
        deleted = settling.delete(batch, running.reservation)
    if not conversations.result:
        raise gone(turn)
    if not questions.result:
        raise TakenOver(extra=turn.ids)
    take_free_id(running, row, is_free)
    _have_indexed_again(turn, *conversations.result[0])
    related_documents.write(turn, row.external_id, documents)
    storing.refer_to_stored(BLOB_OWNER, turn.conversation.pk, running.unreferred)
    settling.settle(running.unwritten_calls, running.reservation, deleted)
    if on_close is not None:
        on_close()
    return access.stored_answer(
        turn.conversation, turn.question_external_id, row, warnings=turn.warnings, headers=turn.headers
    )


def _have_indexed_again(turn: OpenTurn, updated_at: datetime, indexed_at: datetime | None) -> None:
    """Search waits for the lease, so it has indexed the conversation only where the lease had run out meanwhile.

    Otherwise the conversation is still due since the turn was opened. Setting `updated_at` each time would write a page
    of its index more.
    """
    if updated_at == indexed_at:
        compiled_sql.update(Conversation, {"pk": turn.conversation.pk}, updated_at=NOW)


def _close_late(running: RunningTurn) -> None:
    """After a close that was rolled back: writes the ledger rows, and gives the lease back if it is still this turn's.

    If the database fails, neither is written. Then the lease runs out by itself, and the log says what was spent.
    """
    try:
        with transaction.atomic():
            with Batch() as batch:
                _give_back(batch, running.turn)
            recording.insert_late(running.unwritten_calls, running.reservation)
            tool_calls.insert_late(running.tool_calls)
    except DatabaseError as error:
        recording.log_lost(running.turn.turn_id, running.unwritten_calls, error)


def gone(turn: OpenTurn) -> NotFound:
    return NotFound(f"Conversation {turn.conversation.external_id} was deleted meanwhile.", extra=turn.ids)


def close_failed(running: RunningTurn) -> None:
    """Closes a turn without an answer: gives the lease back at once, and writes the ledger rows.

    The outcome is not written again: since the opening, the question's row has the one that is true without an answer.
    Raises NotFound if the conversation was deleted meanwhile, and TakenOver.
    """
    turn = running.turn
    with running.closing(), transaction.atomic():
        erased_payers.forget([*running.unwritten_calls, *running.tool_calls])
        with Batch() as batch:
            questions = _give_back(batch, turn)
        conversation_exists = questions.result or Conversation.objects.filter(pk=turn.conversation.pk).exists()
        if conversation_exists:
            with Batch() as batch:
                recording.insert(batch, running.unwritten_calls)
                tool_calls.insert(batch, running.tool_calls)
                deleted = settling.delete(batch, running.reservation)
            settling.settle(running.unwritten_calls, running.reservation, deleted)
    if not conversation_exists:
        recording.insert_late(running.unwritten_calls, running.reservation)
        tool_calls.insert_late(running.tool_calls)
        raise gone(turn)
    if not questions.result:
        raise TakenOver(extra=turn.ids)


def _give_back(batch: Batch, turn: OpenTurn, **columns: object) -> Statement[int]:
    """Gives the lease back and sets further columns. The result is 0 if another attempt owns the question by now."""
    return write_question(batch, turn, lease_holder="", lease_expires_at=None, continues=None, **columns)


def write_question(batch: Batch, turn: OpenTurn, **columns: object) -> Statement[int]:
    """Sets columns of the question's row. The result is 0 if another attempt owns the question by now."""
    fence = {"pk": turn.question_pk, "attempt": turn.attempt, "lease_holder": leases.HOLDER}
    return batch.update(Message, fence, **columns)


def write_answer(batch: Batch, running: RunningTurn, stop_reason: str) -> tuple[Message, Statement[bool] | None]:
    """Writes the answer, the whole of it or as much as there is so far. When the batch has run, call `take_free_id`.

    A continuation is added to the answer that it extends. If a checkpoint has written the answer's row, that row is
    updated. Otherwise the row is inserted. Returns the row, and of an insertion whether its id was free.
    """
    turn, blocks = running.turn, _blocks(running, stop_reason)
    log = log_of(running) if running.rounds else None
    row = new_row(
        Message,
        conversation_id=turn.conversation.pk,
        external_id=running.answer_external_id,
        parent_id=turn.question_pk,
        role=Role.ASSISTANT,
        attempt=turn.attempt,
        stop_reason=stop_reason,
        model=turn.chat.model.key,
        content_digest="",
        content=blocks,
        thinking_log=log,
    )
    columns: dict[str, object] = {"stop_reason": stop_reason} | ({} if log is None else {"thinking_log": log})
    if turn.extends:
        row.content = extend(turn.contents[turn.extends.pk], blocks)
        batch.update(Message, {"pk": turn.extends.pk}, content=row.content, **columns)
    elif running.stored:
        where = {"conversation_id": row.conversation_id, "external_id": row.external_id}
        batch.update(Message, where, content=blocks, **columns)
    else:
        return row, _insert_answer(batch, row)
    return row, None


def _blocks(running: RunningTurn, stop_reason: str) -> list[StoredBlock]:
    """What the model has said at last; of a turn that was cut, the text of the newest round that has some."""
    was_cut = stop_reason in (StopReason.STOPPED, StopReason.INTERRUPTED)
    return from_converse(running.blocks() if was_cut else running.answer.blocks())


def log_of(running: RunningTurn) -> Log:
    """The log of the answer that the turn writes. A continuation's rounds follow those of its answer."""
    extends = running.turn.extends
    earlier = running.turn.logs.get(extends.pk, ()) if extends else ()
    return [*earlier, *_own_log(running)]


def _own_log(running: RunningTurn) -> Log:
    """What this turn adds to the log."""
    turn = running.turn
    return rounds.log_of(running.rounds, turn.extends.model if turn.extends else turn.chat.model.key)


def _rounds_left(running: RunningTurn, outcome: Outcome) -> dict[str, object]:
    """The column of the question's rounds, as the turn leaves it; nothing where it stays as it is.

    Once the question is answered its rounds are the answer's. Of an answer that was cut short they stay with the
    question, too: whoever asks it again goes on from them.
    """
    # An earlier attempt may have left some that this one has not read, since its model takes no tools.
    is_left = bool(running.rounds) or running.turn.attempt > 1
    return {"rounds": None} if is_left and outcome is Outcome.ANSWERED else {}


def take_free_id(running: RunningTurn, row: Message, is_free: Statement[bool] | None) -> None:
    """Inserts the answer under a new id if its id was not free.

    The client may have sent a question with the id that was meant for this answer.
    """
    while is_free is not None and not is_free.result:
        row.external_id = running.answer_external_id = new_id()
        with Batch() as batch:
            is_free = _insert_answer(batch, row)


def _insert_answer(batch: Batch, row: Message) -> Statement[bool]:
    return batch.insert_unless_taken(row, unique=("conversation_id", "external_id"), created_at=NOW)
