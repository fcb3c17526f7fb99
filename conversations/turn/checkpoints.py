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
from conversations.content import parsing
from conversations.models import Conversation, Outcome
from conversations.turn import closing, registry
from conversations.turn.registry import RunningTurn

logger = logging.getLogger(__name__)

MOST_IN_A_TRANSACTION = 50  # others wait for their turn to write meanwhile, on SQLite all of them


def write() -> None:
    """Writes the answers that have grown since the last time."""
    due = iter([each for each in registry.all_running() if _has_news(each)])
    while batch := list(islice(due, MOST_IN_A_TRANSACTION)):
        # A turn that is closing writes its whole answer itself; waiting for it would keep the others waiting.
        held = [each for each in batch if each.writing.acquire(blocking=False)]
        try:
            _write_all([each for each in held if not each.closed])
        finally:
            for each in held:
                each.writing.release()


def _write_all(batch: list[RunningTurn]) -> None:
    """In one transaction; where that fails, each in its own: what is wrong with one costs the others nothing."""
    try:
        _write(batch)
    except Exception:
        if len(batch) > 1:
            for each in batch:
                _write_all([each])
            return
        logger.exception("An answer could not be checkpointed; it is tried again.")


def _has_news(each: RunningTurn) -> bool:
    return each.listened and each.built.revision > each.stored_revision and each.built.has_text()


def _write(batch: list[RunningTurn]) -> None:
    written: list[tuple[RunningTurn, int]] = []
    with transaction.atomic():
        rows = Conversation.objects.filter(pk__in={each.turn.conversation.pk for each in batch}).order_by("pk")
        # One that is being deleted, or locked for longer, must not keep the heartbeat from everything else.
        alive = set(rows.select_for_update(skip_locked=True).values_list("pk", flat=True))
        now = database_now()
        for each in batch:
            turn, revision = each.turn, each.built.revision
            if turn.conversation.pk not in alive or not closing.write_question(turn, outcome=Outcome.INTERRUPTED):
                continue
            said = parsing.from_converse(each.built.blocks())
            closing.write_answer(each, said, StopReason.INTERRUPTED, now)
            written.append((each, revision))
    for each, revision in written:
        each.stored, each.stored_revision = True, revision
