"""Questions of published APIs whose conversations are gone, and what pruning must know of conversations of APIs.

A question stays as long as its conversation does, and is as old as its end. So most go in the run that has deleted
their conversations, and those that failed before there was one go by themselves.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db import connection, transaction

from bedrock_chat.blobs import storing
from bedrock_chat.database.connections import yield_sqlite_lock
from bedrock_chat.retention import holds
from bedrock_chat.retention.holds import Holds
from bedrock_chat.retention.models import Hold, HoldKind
from bedrock_chat.retention.policies import Plan
from bedrock_chat.retention.pruning import Counts, Run
from conversations import retention
from conversations.models import Conversation
from conversations.retention import COLUMNS, Row
from publication import running
from publication.models import PublicationOwner, TurnRequest

PART: Final = "questions"
ROWS_AT_A_TIME: Final = 1_000
AT_A_TIME: Final = 100


@dataclass(frozen=True, slots=True)
class Question:
    """What decides whether a question is to go."""

    pk: int
    publication_id: str
    conversation_id: str
    accepted_at: datetime
    done_at: datetime | None


QUESTION_COLUMNS: Final = ("pk", "publication_id", "conversation_id", "accepted_at", "done_at")


# ---- Conversations --------------------------------------------------------------------------------------------------


def owners(publication_ids: Collection[str]) -> Mapping[str, str]:
    """Whose the APIs are or were."""
    rows = PublicationOwner.objects.filter(pk__in=publication_ids)
    return dict(rows.values_list("publication_id", "user_id"))


def waiting(rows: Sequence[Row]) -> set[int]:
    """Those of the conversations in which a question waits or runs. Inside a transaction, none comes until it ends."""
    keys = {(row.publication_id or "", row.external_id): row.pk for row in rows}
    if connection.in_atomic_block:
        for publication_id, conversation_id in sorted(keys):
            running.lock(publication_id, conversation_id)
    undone = TurnRequest.objects.filter(
        publication_id__in={publication_id for publication_id, _ in keys},
        conversation_id__in={conversation_id for _, conversation_id in keys},
        done_at__isnull=True,
    )
    return {keys[pair] for pair in undone.values_list("publication_id", "conversation_id") if pair in keys}


# ---- Questions ------------------------------------------------------------------------------------------------------


def count(plan: Plan) -> Counts:
    """Questions that go with conversations, or have none any more."""
    return {PART: sum(len(_due(window, plan, holds.present())) for window in _windows(plan))}


def prune(run: Run) -> Iterator[Counts]:
    """Deletes questions whose conversations are gone; stops after each transaction."""
    for window in _windows(run.plan):
        keys = [question.pk for question in _due(window, run.plan, holds.present())]
        for first in range(0, len(keys), AT_A_TIME):
            with yield_sqlite_lock(), transaction.atomic():
                counts = _delete(keys[first : first + AT_A_TIME], run)
            yield counts


def _delete(keys: Sequence[int], run: Run) -> Counts:
    present = holds.present()
    plan = run.plan.as_now()
    rows = TurnRequest.objects.filter(pk__in=keys).order_by("pk").select_for_update(skip_locked=True)
    going = _due([Question(*row) for row in rows.values_list(*QUESTION_COLUMNS)], plan, present, has_conversation=False)
    if not going:
        return {}
    still_due = [question.pk for question in going]
    apis = PublicationOwner.objects.in_bulk({question.publication_id for question in going})
    bots = (api.bot_id if (api := apis.get(question.publication_id)) else None for question in going)
    run.record_with_bots(PART, bots, plan)
    storing.forget(running.BLOB_OWNER, still_due)
    TurnRequest.objects.filter(pk__in=still_due).delete()
    return {PART: len(still_due)}


def _windows(plan: Plan) -> Iterator[list[Question]]:
    """Questions that may be too old, in the order of their keys, some at a time."""
    newest, last = plan.newest, 0
    rows = TurnRequest.objects.order_by("pk")
    if plan.only_bot is not None:
        rows = rows.filter(
            publication_id__in=PublicationOwner.objects.filter(bot_id=plan.only_bot).values("publication_id")
        )
    while newest is not None:
        window = [Question(*row) for row in rows.filter(pk__gt=last).values_list(*QUESTION_COLUMNS)[:ROWS_AT_A_TIME]]
        if not window or all(question.accepted_at >= newest for question in window):
            return
        yield window
        last = window[-1].pk


def _due(questions: Sequence[Question], plan: Plan, present: Holds, *, has_conversation: bool = True) -> list[Question]:
    """Those of the questions that are to go. With `has_conversation`, also those whose conversation is about to go."""
    apis = PublicationOwner.objects.in_bulk({question.publication_id for question in questions})
    pairs = {(question.publication_id, question.conversation_id) for question in questions}
    rows = Conversation.objects.filter(
        publication_id__in={publication_id for publication_id, _ in pairs},
        external_id__in={conversation_id for _, conversation_id in pairs},
    )
    conversations = [Row(*row) for row in rows.values_list(*COLUMNS)]
    going = retention.due(conversations, plan, present) if has_conversation else []
    staying = _pairs(conversations) - _pairs(going)
    due = []
    for question in questions:
        api = apis.get(question.publication_id)
        bot_id, owner = (None, None) if api is None else (api.bot_id, api.user_id)
        pair = question.publication_id, question.conversation_id
        if question.done_at is None or pair in staying or present.keep(bot_id, owner):
            continue
        if plan.is_too_old(question.done_at, bot_id):
            due.append(question)
    return due


def _pairs(rows: Sequence[Row]) -> set[tuple[str, str]]:
    return {(row.publication_id or "", row.external_id) for row in rows}


# ---- Erasing --------------------------------------------------------------------------------------------------------


def refuse_erasing(user_id: str) -> None:
    """Raises OnHold for a person whose API was one of a bot on hold: its conversations would be deleted with them."""
    bots = Hold.objects.filter(kind=HoldKind.BOT).values("target_id")
    bot_id = PublicationOwner.objects.filter(user_id=user_id, bot_id__in=bots).values_list("bot_id", flat=True).first()
    if bot_id is not None:
        holds.refuse(HoldKind.BOT, bot_id)
