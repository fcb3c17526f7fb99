"""Stores partial answers while they are written, so that a killed process loses no more than the last few words.

Every `CHECKPOINT_SECONDS` the heartbeat writes the answers that have grown, many turns in one transaction. The rows
then say what is true if the process dies: the answer has a row, its stop reason is `interrupted`, and so is the
question's outcome. While the lease lives, the answer is not part of the tree. A turn that ends before its first
checkpoint costs nothing extra.
"""

import logging
from itertools import islice

from django.db import transaction

from bedrock_chat.bedrock.events import StopReason
from bedrock_chat.database.compiled_sql import Batch
from conversations.models import Conversation, Outcome
from conversations.turn import closing, registry
from conversations.turn.registry import RunningTurn

logger = logging.getLogger(__name__)

MOST_IN_A_TRANSACTION = 50  # other writers wait meanwhile, on SQLite all of them


def write() -> None:
    """Writes the answers that have grown since their last checkpoint."""
    due = iter([running for running in registry.all_running() if _has_news(running)])
    while batch := list(islice(due, MOST_IN_A_TRANSACTION)):
        # A closing turn writes its whole answer itself. To wait for its lock would delay the other turns.
        locked = [running for running in batch if running.writing.acquire(blocking=False)]
        try:
            _write_all([running for running in locked if not running.closed])
        finally:
            for running in locked:
                running.writing.release()


def _write_all(batch: list[RunningTurn]) -> None:
    """Writes a batch in one transaction. If that fails, each turn gets its own, so that one fault costs one turn."""
    try:
        _write(batch)
    except Exception:
        if len(batch) > 1:
            for running in batch:
                _write_all([running])
            return
        logger.exception("An answer could not be checkpointed; it is tried again.")


def _has_news(running: RunningTurn) -> bool:
    has_listener = running.listener is not None
    return has_listener and running.answer.revision > running.stored_revision and running.has_text()


def _write(due: list[RunningTurn]) -> None:
    """Writes the partial answers of some turns in one transaction.

    1. The conversations' rows are locked, in the order of their keys. Rows that are gone or locked are left out.
    2. Each question's outcome becomes `interrupted`. If another attempt owns the question, its turn is left out.
    3. The answer's row is inserted or updated.
    4. After the commit, each turn notes that its answer has a row, and which revision of it is stored.
    """
    with transaction.atomic():
        rows = Conversation.objects.filter(pk__in={running.turn.conversation.pk for running in due}).order_by("pk")
        # A conversation that is being deleted, or is locked for long, must not hold up the heartbeat's other work.
        locked = set(rows.select_for_update(skip_locked=True).values_list("pk", flat=True))
        writable = [running for running in due if running.turn.conversation.pk in locked]
        with Batch() as batch:
            questions = [
                closing.write_question(batch, running.turn, outcome=Outcome.INTERRUPTED) for running in writable
            ]
        owned = [running for running, question in zip(writable, questions, strict=True) if question.result]
        revisions = [running.answer.revision for running in owned]
        with Batch() as batch:
            answers = [closing.write_answer(batch, running, StopReason.INTERRUPTED) for running in owned]
        for running, answer in zip(owned, answers, strict=True):
            closing.take_free_id(running, *answer)
    for running, revision in zip(owned, revisions, strict=True):
        running.stored, running.stored_revision = True, revision
