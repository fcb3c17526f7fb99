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
from bedrock_chat.database.connections import database_now
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
    return has_listener and running.answer.revision > running.stored_revision and running.answer.has_text()


def _write(batch: list[RunningTurn]) -> None:
    """Writes the partial answers of a batch in one transaction.

    1. The conversations' rows are locked, in the order of their keys. Rows that are gone or locked are left out.
    2. Each question's outcome becomes `interrupted`. If another attempt owns the question, its turn is left out.
    3. The answer's row is inserted or updated.
    4. After the commit, each turn notes that its answer has a row, and which revision of it is stored.
    """
    written: list[tuple[RunningTurn, int]] = []
    with transaction.atomic():
        rows = Conversation.objects.filter(pk__in={running.turn.conversation.pk for running in batch}).order_by("pk")
        # A conversation that is being deleted, or is locked for long, must not hold up the heartbeat's other work.
        locked = set(rows.select_for_update(skip_locked=True).values_list("pk", flat=True))
        now = database_now()
        for running in batch:
            turn, revision = running.turn, running.answer.revision
            if turn.conversation.pk not in locked or not closing.write_question(turn, outcome=Outcome.INTERRUPTED):
                continue
            closing.write_answer(running, StopReason.INTERRUPTED, now)
            written.append((running, revision))
    for running, revision in written:
        running.stored, running.stored_revision = True, revision
