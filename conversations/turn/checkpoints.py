"""Partial answers, kept while they are written, so that a killed process loses no more than the last few words.

Every `CHECKPOINT_SECONDS` the heartbeat writes what has news, many turns in one transaction. The rows then say what is
true if the process dies: the answer's row is there, its stop reason is `interrupted`, and so is its question; while the
lease lives the answer is not part of the tree. A turn that ends sooner has cost nothing.
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

MOST_IN_A_TRANSACTION = 50  # others wait for their turn to write meanwhile, on SQLite all of them


def write() -> None:
    """Writes the answers that have grown since the last time."""
    due = iter([running for running in registry.all_running() if _has_news(running)])
    while batch := list(islice(due, MOST_IN_A_TRANSACTION)):
        # A turn that is closing writes its whole answer itself; waiting for it would keep the others waiting.
        locked = [running for running in batch if running.writing.acquire(blocking=False)]
        try:
            _write_all([running for running in locked if not running.closed])
        finally:
            for running in locked:
                running.writing.release()


def _write_all(batch: list[RunningTurn]) -> None:
    """In one transaction; where that fails, each in its own: what is wrong with one costs the others nothing."""
    try:
        _write(batch)
    except Exception:
        if len(batch) > 1:
            for running in batch:
                _write_all([running])
            return
        logger.exception("An answer could not be checkpointed; it is tried again.")


def _has_news(running: RunningTurn) -> bool:
    is_heard = running.listener is not None
    return is_heard and running.answer.revision > running.stored_revision and running.answer.has_text()


def _write(batch: list[RunningTurn]) -> None:
    written: list[tuple[RunningTurn, int]] = []
    with transaction.atomic():
        rows = Conversation.objects.filter(pk__in={running.turn.conversation.pk for running in batch}).order_by("pk")
        # One that is being deleted, or locked for longer, must not keep the heartbeat from everything else.
        alive = set(rows.select_for_update(skip_locked=True).values_list("pk", flat=True))
        now = database_now()
        for running in batch:
            turn, revision = running.turn, running.answer.revision
            if turn.conversation.pk not in alive or not closing.write_question(turn, outcome=Outcome.INTERRUPTED):
                continue
            closing.write_answer(running, StopReason.INTERRUPTED, now)
            written.append((running, revision))
    for running, revision in written:
        running.stored, running.stored_revision = True, revision
