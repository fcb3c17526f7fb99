"""Conversations that are older than the policies allow: found by their keys, and deleted in bounded transactions.

A conversation is as old as its last change. There is no index by that time, which every turn would write: keys ascend
with the time at which conversations began, so whoever prunes reads from the lowest key on, until all began too late.

What stays, however old: conversations of which a person or bot is on hold, and those in which a turn runs or waits.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db import transaction
from django.db.models import Count

from bedrock_chat.blobs.models import BlobReference
from bedrock_chat.database.connections import database_now, yield_sqlite_lock
from bedrock_chat.retention import holds
from bedrock_chat.retention.holds import Holds
from bedrock_chat.retention.models import Hold, HoldKind
from bedrock_chat.retention.policies import Plan
from bedrock_chat.retention.pruning import Counts, Run
from conversations import deleting
from conversations.models import BLOB_OWNER, Conversation, Message
from conversations.turn import leases

PART: Final = "conversations"
ROWS_AT_A_TIME: Final = 1_000
"""Conversations that are looked at in one query."""
AT_A_TIME: Final = 100
MESSAGES_AT_A_TIME: Final = 5_000
"""Conversations, and their messages, that are deleted in one transaction. A conversation is deleted whole."""


@dataclass(frozen=True, slots=True)
class Row:
    """What decides whether a conversation is to go."""

    pk: int
    external_id: str
    user_id: str | None
    publication_id: str | None
    bot_id: str | None
    created_at: datetime
    updated_at: datetime


COLUMNS: Final = ("pk", "external_id", "user_id", "publication_id", "bot_id", "created_at", "updated_at")


@dataclass(frozen=True, slots=True)
class Published:
    """What is known of conversations of published APIs. Their app registers it.

    `owners` takes ids of publications, and returns whose they are or were. `waiting` takes rows, and returns the keys
    of those for which a question waits; inside a transaction no other is accepted for them until that ends.
    """

    owners: Callable[[Collection[str]], Mapping[str, str]]
    waiting: Callable[[Sequence[Row]], set[int]]


_published: list[Published] = []


def register(published: Published) -> None:
    """For the app of published APIs, from `apps.ready`."""
    _published[:] = [published]


# ---- Finding --------------------------------------------------------------------------------------------------------


def windows(plan: Plan) -> Iterator[list[Row]]:
    """Conversations that may be too old, in the order of their keys, some at a time."""
    newest, last = plan.newest, 0
    rows = Conversation.objects.order_by("pk")
    if plan.only_bot is not None:
        rows = rows.filter(bot_id=plan.only_bot)
    while newest is not None:
        window = [Row(*row) for row in rows.filter(pk__gt=last).values_list(*COLUMNS)[:ROWS_AT_A_TIME]]
        if not window or all(row.created_at >= newest for row in window):
            return
        yield window
        last = window[-1].pk


def due(rows: Sequence[Row], plan: Plan, present: Holds) -> list[Row]:
    """Those of the conversations that are to go. Inside a transaction that has locked them, this stays true."""
    old = [row for row in rows if plan.is_too_old(row.updated_at, row.bot_id)]
    if not old:
        return []
    owners: Mapping[str, str] = {}
    waiting: set[int] = set()
    published = [row for row in old if row.publication_id is not None]
    for app in _published if published else ():
        owners = app.owners({row.publication_id for row in published if row.publication_id is not None})
        waiting = app.waiting(published)
    waiting |= _running([row.pk for row in old])
    return [
        row
        for row in old
        if row.pk not in waiting and not present.keep(row.bot_id, row.user_id, owners.get(row.publication_id or ""))
    ]


def _running(keys: Collection[int]) -> set[int]:
    """The conversations in which a turn runs."""
    of_these = Message.objects.filter(conversation__in=keys, lease_expires_at__isnull=False)
    running = set(of_these.running(database_now()).values_list("conversation_id", flat=True))
    if running:
        leases.shorten(of_these)  # a process that was killed before the clock was set back would keep them
    return running


# ---- Counting -------------------------------------------------------------------------------------------------------


def count(plan: Plan) -> Counts:
    """Conversations, messages, and files that nothing else refers to."""
    counts = Counter({PART: 0, "messages": 0, "files": 0})
    references: Counter[str] = Counter()
    present = holds.present()
    for window in windows(plan):
        keys = [row.pk for row in due(window, plan, present)]
        counts[PART] += len(keys)
        counts["messages"] += sum(_messages_of(keys).values())
        references.update(_references(keys))
    counts["files"] = len(_unreferenced_but_for(references))
    return counts


def _messages_of(keys: Collection[int]) -> dict[int, int]:
    """Conversation → how many messages it has, if any."""
    counted = Message.objects.filter(conversation__in=keys).order_by().values_list("conversation_id")
    return dict(counted.annotate(messages=Count("pk")))


def _references(keys: Collection[int]) -> list[str]:
    """The files of conversations, each as often as conversations refer to it."""
    references = BlobReference.objects.filter(owner_kind=BLOB_OWNER, owner_id__in=keys)
    return list(references.values_list("blob_id", flat=True))


def _unreferenced_but_for(references: Mapping[str, int]) -> set[str]:
    """Those of some files (SHA-256 → references) that have no other reference."""
    shas, alone = list(references), set()
    for first in range(0, len(shas), ROWS_AT_A_TIME):
        some = BlobReference.objects.filter(blob__in=shas[first : first + ROWS_AT_A_TIME])
        counted = dict(some.order_by().values_list("blob_id").annotate(references=Count("pk")))
        alone |= {sha for sha in shas[first : first + ROWS_AT_A_TIME] if counted.get(sha, 0) == references[sha]}
    return alone


# ---- Pruning --------------------------------------------------------------------------------------------------------


def prune(run: Run) -> Iterator[Counts]:
    """Deletes the conversations; stops after each transaction."""
    for window in windows(run.plan):
        keys = [row.pk for row in due(window, run.plan, holds.present())]
        for batch in _batches(keys):
            with yield_sqlite_lock(), transaction.atomic():
                counts = _delete(batch, run)
            yield counts


def _batches(keys: Sequence[int]) -> Iterator[list[int]]:
    """At most so many conversations with so many messages; one with more is a batch of its own."""
    batch: list[int] = []
    messages, of_each = 0, _messages_of(keys)
    for key in keys:
        more = of_each.get(key, 0)
        if batch and (len(batch) == AT_A_TIME or messages + more > MESSAGES_AT_A_TIME):
            yield batch
            batch, messages = [], 0
        batch.append(key)
        messages += more
    if batch:
        yield batch


def _delete(keys: Iterable[int], run: Run) -> Counts:
    """Deletes those of the conversations that are still to go. One that somebody else has locked is in use."""
    present = holds.present()  # before the rows' locks, as whoever erases a person
    plan = run.plan.as_now()
    rows = Conversation.objects.filter(pk__in=list(keys)).order_by("pk").select_for_update(skip_locked=True)
    going = due([Row(*row) for row in rows.values_list(*COLUMNS)], plan, present)
    if not going:
        return {}
    still_due = [row.pk for row in going]
    run.record_with_bots(PART, (row.bot_id for row in going), plan)
    messages, references = sum(_messages_of(still_due).values()), Counter(_references(still_due))
    deleting.delete_rows(still_due)
    return {
        PART: len(still_due),
        "messages": messages,
        "files": len(_unreferenced_but_for(dict.fromkeys(references, 0))),
    }


# ---- Looking --------------------------------------------------------------------------------------------------------


def kept_by(conversation: Conversation) -> list[HoldKind]:
    """The kinds of holds that keep a conversation from being pruned: on its owner, or its API's, and on its bot."""
    user_id, publication_id = conversation.user_id, conversation.publication_id
    if publication_id is not None:
        user_id = next((app.owners([publication_id]).get(publication_id) for app in _published), None)
    targets = ((HoldKind.PERSON, user_id), (HoldKind.BOT, conversation.bot_id))
    return [kind for kind, target in targets if target and holds.find(kind, target)]


# ---- Erasing --------------------------------------------------------------------------------------------------------


def refuse_erasing(user_id: str) -> None:
    """Raises OnHold for a person who has conversations with a bot on hold, which would be deleted with them."""
    bots = list(Hold.objects.filter(kind=HoldKind.BOT).values_list("target_id", flat=True))
    own = Conversation.objects.filter(user_id=user_id, bot_id__in=bots).order_by()  # no query, where there are none
    bot_id = own.values_list("bot_id", flat=True).first()
    if bot_id is not None:
        holds.refuse(HoldKind.BOT, bot_id)
