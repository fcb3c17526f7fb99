"""The index of searches: what is indexed of conversations, and when.

The index follows what was said; a turn writes nothing for it. A conversation is due while its `updated_at` is not the
one that was indexed, and no turn runs in it: what is said now may still change. Whoever indexes it holds its row, as a
closing turn and a deletion do, and so finds whole turns, and leaves nothing of a conversation that is gone.
"""

import logging
import time
from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import accumulate
from typing import Final

from django.db import transaction
from django.db.models import Exists, F, OuterRef, QuerySet

from bedrock_chat.database.connections import database_now, yield_sqlite_lock
from bedrock_chat.jobs.queue import Claimed
from bedrock_chat.search import index
from bedrock_chat.search.index import Document, Group
from bedrock_chat.search.ranking import HEADING
from conversations.content.blocks import texts
from conversations.models import UNTITLED, Conversation, Message, Role
from conversations.tree import CONTINUABLE

logger = logging.getLogger(__name__)

KIND: Final = "conversation"
MOST_IN_A_RUN: Final = 500
MOST_OF_ONE: Final = 40
"""Transactions of the periodic job, and of one conversation."""
SET_BACK_SECONDS: Final = 600.0
MESSAGES_AT_ONCE: Final = 50
CHARACTERS_AT_ONCE: Final = 200_000
MARKED_AT_ONCE: Final = 1_000
"""In one transaction, which on SQLite keeps every other writer waiting."""

_BEGUN: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""`indexed_at` of a conversation that is too long for one transaction, until its last one."""
_set_back: dict[int, float] = {}
"""Conversations that this process could not index → when it tries again."""


def index_what_is_new(limit: int = 100) -> int:
    """Indexes what was said and renamed since the last time, in up to `limit` short transactions; gives their number.

    0 means that nothing is left but what is being written now. Several may do this at once. What cannot be indexed
    is logged, tried again after a while, and costs the others nothing; nor does what is long.
    """
    done = 0
    for pk in list(_due().order_by("updated_at").values_list("pk", flat=True)[:limit]):
        try:
            for _ in range(min(MOST_OF_ONE, limit - done)):
                left = _index_some(pk)
                done += left is not None
                if not left:
                    break
        except Exception:
            logger.exception("Conversation %d could not be indexed; it is tried again.", pk)
            _set_back[pk] = time.monotonic() + SET_BACK_SECONDS
    return done


def index_new(_: Claimed) -> None:
    """The periodic job. What is left of a great deal waits for its next run, so that a worker that ends is not kept."""
    index_what_is_new(MOST_IN_A_RUN)


def index_everything_anew() -> None:
    """Makes all conversations due, whole: `index_what_is_new` does the work. Until then the old index answers."""
    last = 0
    ours = Conversation.objects.filter(user__isnull=False)
    while keys := list(ours.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:MARKED_AT_ONCE]):
        ours.filter(pk__in=keys).update(indexed_at=None)
        last = keys[-1]


def forget(rows: Sequence[int]) -> None:
    """Leaves nothing of conversations that are being deleted, in the same transaction; their rows are locked."""
    index.forget(KIND, rows)


def _due() -> QuerySet[Conversation]:
    running = Message.objects.running(database_now()).values("conversation")
    due = Conversation.objects.to_be_indexed().exclude(pk__in=running)
    for pk, until in list(_set_back.items()):
        if until <= time.monotonic():
            _set_back.pop(pk, None)
    return due.exclude(pk__in=list(_set_back)) if _set_back else due


def _index_some(pk: int) -> bool | None:
    """One transaction's worth of a conversation: whether more is left, or None where it is not due (any more)."""
    with yield_sqlite_lock(), transaction.atomic():
        rows = Conversation.objects.to_be_indexed().filter(pk=pk).select_for_update(skip_locked=True)
        conversation = rows.only("pk", "title", "user_id", "indexed_at").first()
        if conversation is None or conversation.messages.running(database_now()).exists():
            return None
        messages, group = conversation.messages.all(), _group(conversation)
        if conversation.indexed_at is None:
            new, left = _some(messages)
            index.write_anew(group, [_title(conversation), *new])
        else:
            known = index.known(group)
            again = _documents(messages.filter(pk__in=known.words.keys() - {HEADING}))
            changed = [one for one in (_title(conversation), *again) if _differs(one, known)]
            new, left = _some(messages.filter(pk__gt=known.last))
            index.write(group, [*changed, *new], replaced=[one.key for one in changed])
            index.settle(group, [one.key for one in again if one.settled])
        Conversation.objects.filter(pk=pk).update(indexed_at=_BEGUN if left else F("updated_at"))
        return left


def _some(messages: QuerySet[Message]) -> tuple[list[Document], bool]:
    """The next documents, as many as go into one transaction, and whether more may be left."""
    new = _documents(messages, MESSAGES_AT_ONCE)
    characters = list(accumulate(len(one.text) for one in new))
    fitting = max(1, bisect_right(characters, CHARACTERS_AT_ONCE))
    return new[:fitting], len(new) == MESSAGES_AT_ONCE or fitting < len(new)


def _title(conversation: Conversation) -> Document:
    return Document(HEADING, "" if conversation.title == UNTITLED else conversation.title)


def _differs(document: Document, known: index.Known) -> bool:
    return index.words_of(document.text) != known.words.get(document.key, "")


def _group(conversation: Conversation) -> Group:
    scope = scope_of(conversation.user_id)
    return Group(KIND, conversation.pk, scopes=(scope,), vocabulary=scope)


def scope_of(user_id: str | None) -> str:
    return f"user:{user_id}"


def _documents(messages: QuerySet[Message], most: int | None = None) -> list[Document]:
    """Messages as they are indexed, the oldest first. An answer is settled once nobody can write to it any more."""
    below = Message.objects.filter(parent=OuterRef("pk"))
    rows = messages.order_by("pk").annotate(held_by=F("parent__lease_holder"), goes_on=Exists(below))
    return [
        Document(
            pk,
            "\n".join(texts(content)),
            # A killed turn's lease stays on its question: that process may have been asleep, and close the turn yet.
            settled=role == Role.USER or not (held_by or (stop_reason in CONTINUABLE and not goes_on)),
        )
        for pk, role, content, stop_reason, held_by, goes_on in rows.values_list(
            "pk", "role", "content", "stop_reason", "held_by", "goes_on"
        )[:most]
    ]
