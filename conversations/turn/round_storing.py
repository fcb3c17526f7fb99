"""Stores a turn's rounds with its question while it runs, so that a killed process loses none that were paid.

A round is stored before its tools start, with every call marked as running, and each result as it comes. Every write is
fenced by the attempt. A run without rows, such as a chat completion, keeps its rounds in memory.
"""

import logging
from collections.abc import Mapping, Sequence

from django.db import DatabaseError, transaction

from bedrock_chat.blobs import storing
from bedrock_chat.database import waiting
from bedrock_chat.database.compiled_sql import Batch
from bedrock_chat.database.connections import release_connection
from bedrock_chat.ledger import erased_payers, recording, tool_calls
from bedrock_chat.ledger.budgets import settling
from conversations.content.rounds import StoredCall, StoredRound, shas_of_call
from conversations.models import BLOB_OWNER
from conversations.turn import closing
from conversations.turn.registry import Run, RunningTurn

logger = logging.getLogger(__name__)


def begin_round(running: Run, stored: StoredRound) -> None:
    """Stores a round whose tools are about to start, and the ledger's row of the call that has asked for them. Calls
    that are not run have their results, and get their rows too.

    What was reserved for that call is given back, and what it used is counted. One transaction. Raises TakenOver.
    """
    running.rounds.append(stored)
    if not isinstance(running, RunningTurn):
        with waiting.patiently():
            recording.insert_late(running.unwritten_calls, running.reservation)
        _note_written(running)
        release_connection()
        return
    with running.keeping_rounds, waiting.patiently():
        pending = list(running.tool_calls)
        with transaction.atomic():
            erased_payers.forget([*running.unwritten_calls, *pending])
            with Batch() as batch:
                questions = closing.write_question(batch, running.turn, rounds=_all_rounds(running))
                tool_calls.insert(batch, pending)
                recording.insert(batch, running.unwritten_calls)
                deleted = settling.delete(batch, running.reservation)
            if not questions.result:
                raise closing.TakenOver(extra=running.ids)
            settling.settle(running.unwritten_calls, running.reservation, deleted)
        del running.tool_calls[: len(pending)]
        _note_written(running)
    release_connection()


def _note_written(running: Run) -> None:
    running.written_calls = len(running.calls)
    running.reserve(None)


def keep_files(files: Mapping[str, bytes]) -> None:
    """Puts the files of results into storage. Call it outside any transaction."""
    if files:
        storing.store(files)
        release_connection()


def write_results(running: Run, calls: Sequence[StoredCall]) -> None:
    """Stores results, which stand in the rounds already, and the ledger's rows of calls. Any thread may call it.

    A turn that was taken over or closed meanwhile gets nothing more: its attempt owns the question no longer. If the
    database fails, the next write brings them.
    """
    if not isinstance(running, RunningTurn):
        return
    with running.keeping_rounds:
        if running.closed or running.is_taken_over:
            return
        pending = list(running.tool_calls)
        shas = running.unreferred | {sha256 for call in calls for sha256 in shas_of_call(call)}
        try:
            with waiting.patiently(), transaction.atomic():
                erased_payers.forget(pending)
                with Batch() as batch:
                    questions = closing.write_question(batch, running.turn, rounds=_all_rounds(running))
                    tool_calls.insert(batch, pending)
                if not questions.result:
                    raise closing.TakenOver(extra=running.ids)
                storing.refer_to_stored(BLOB_OWNER, running.turn.conversation.pk, shas)
        except closing.TakenOver:
            running.is_taken_over = True
        except DatabaseError as error:
            running.unreferred = shas
            logger.warning("results of turn %s are not stored yet: %s", running.turn.turn_id, type(error).__name__)
        else:
            del running.tool_calls[: len(pending)]
            running.unreferred = set()
        finally:
            release_connection()


def _all_rounds(running: RunningTurn) -> list[StoredRound]:
    return [*running.turn.other_rounds, *running.rounds]
