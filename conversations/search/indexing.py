"""Indexes conversations for search: what is indexed, and when.

Indexing follows later; a turn itself writes nothing for it. A conversation is due if its `updated_at` is not the one
that was indexed, and if no turn runs in it, since that turn's answer may still change. Its row is locked while it is
indexed, as it is by a closing turn and by a deletion. So only whole turns are indexed, and nothing stays in the index
of a conversation that was deleted.
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
from conversations.turn import leases

logger = logging.getLogger(__name__)

KIND: Final = "conversation"
MOST_IN_A_RUN: Final = 500
MOST_OF_ONE: Final = 40
"""The most transactions of one run of the periodic job, and of one conversation at a time."""
SET_BACK_SECONDS: Final = 600.0
"""How long a conversation that could not be indexed waits for the next try."""
MESSAGES_AT_ONCE: Final = 50
CHARACTERS_AT_ONCE: Final = 200_000
MARKED_AT_ONCE: Final = 1_000
"""The most in one transaction: on SQLite every other writer waits for it."""

_BEGUN: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""`indexed_at` of a conversation that takes several transactions, until the last one has set it."""
_set_back: dict[int, float] = {}
"""Conversations that this process could not index → when it tries again, by `time.monotonic`."""


def index_what_is_new(limit: int = 100) -> int:
    """Indexes what is new or renamed since the last time, in up to `limit` short transactions. Returns their number.

    0 means that nothing is left, except what is being written now. Several processes may do this at once. If one
    conversation cannot be indexed, that is logged and tried again after a while. Neither it nor a long one delays the
    others.
    """
    transactions = 0
    for pk in list(_due().order_by("updated_at").values_list("pk", flat=True)[:limit]):
        try:
            for _ in range(min(MOST_OF_ONE, limit - transactions)):
                more_left = _index_some(pk)
                transactions += more_left is not None
                if not more_left:
                    break
        except Exception:
            logger.exception("Conversation %d could not be indexed; it is tried again.", pk)
            _set_back[pk] = time.monotonic() + SET_BACK_SECONDS
    return transactions


def index_new(_: Claimed) -> None:
    """The periodic job. If there is very much to index, the rest waits for the next run: a worker may have to end."""
    waiting = Conversation.objects.to_be_indexed().order_by("updated_at").values_list("pk", flat=True)[:MOST_IN_A_RUN]
    leases.shorten(Message.objects.filter(conversation__in=list(waiting)))  # they may wait for a lease to end
    index_what_is_new(MOST_IN_A_RUN)


def index_everything_anew() -> None:
    """Marks all users' conversations to be indexed from their beginning. `index_what_is_new` does the work.

    Until then, searches use the old index.
    """
    last = 0
    of_users = Conversation.objects.filter(user__isnull=False)
    while keys := list(of_users.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:MARKED_AT_ONCE]):
        of_users.filter(pk__in=keys).update(indexed_at=None)
        last = keys[-1]


def forget(keys: Sequence[int]) -> None:
    """Removes conversations from the index. Call it in the transaction that deletes them and has locked their rows."""
    index.forget(KIND, keys)


def _due() -> QuerySet[Conversation]:
    """Conversations to be indexed in which no turn runs, without those that wait for their next try."""
    running = Message.objects.running(database_now()).filter(conversation=OuterRef("pk"))
    due = Conversation.objects.to_be_indexed().exclude(Exists(running))
    for pk, until in list(_set_back.items()):
        if until <= time.monotonic():
            _set_back.pop(pk, None)
    return due.exclude(pk__in=list(_set_back)) if _set_back else due


def _index_some(pk: int) -> bool | None:
    """Indexes as much of a conversation as fits into one transaction. Returns whether more is left; None if not due.

    1. The conversation's row is locked. It is not due if another transaction holds the row, if it has been indexed
       meanwhile, or if a turn runs in it.
    2. If it is to be indexed from its beginning (`indexed_at` is None), its title and its first messages take the place
       of all that the index has of it.
    3. Otherwise the next messages after the last indexed one are added. The title and the messages that could still
       change are indexed again if their words differ. Messages that cannot change any more are marked as settled.
    4. `indexed_at` notes the state that is indexed, or that more is left.
    """
    with yield_sqlite_lock(), transaction.atomic():
        rows = Conversation.objects.to_be_indexed().filter(pk=pk).select_for_update(skip_locked=True)
        conversation = rows.only("pk", "title", "user_id", "indexed_at").first()
        if conversation is None or conversation.messages.running(database_now()).exists():
            return None
        messages, group = conversation.messages.all(), _group(conversation)
        if conversation.indexed_at is None:
            new, more_left = _next_documents(messages)
            index.write_anew(group, [_title(conversation), *new])
        else:
            known = index.known(group)
            unsettled = _documents(messages.filter(pk__in=known.words.keys() - {HEADING}))
            changed = [document for document in (_title(conversation), *unsettled) if _differs(document, known)]
            new, more_left = _next_documents(messages.filter(pk__gt=known.last))
            index.write(group, [*changed, *new], replaced=[document.key for document in changed])
            index.settle(group, [document.key for document in unsettled if document.settled])
        Conversation.objects.filter(pk=pk).update(indexed_at=_BEGUN if more_left else F("updated_at"))
        return more_left


def _next_documents(messages: QuerySet[Message]) -> tuple[list[Document], bool]:
    """The first of the messages as documents, as many as go into one transaction, and whether more may be left."""
    new = _documents(messages, MESSAGES_AT_ONCE)
    characters = list(accumulate(len(document.text) for document in new))
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
    """Messages as documents of the index, the oldest first. An answer is settled once no turn can change it any more.

    An answer that was cut short can be continued as long as it has no message below it.
    """
    below = Message.objects.filter(parent=OuterRef("pk"))
    rows = messages.order_by("pk").annotate(question_holder=F("parent__lease_holder"), has_children=Exists(below))
    return [
        Document(
            pk,
            "\n".join(texts(content)),
            # A killed process leaves its lease on the question. If it was only asleep, it may still close the turn.
            settled=role == Role.USER or not (question_holder or (stop_reason in CONTINUABLE and not has_children)),
        )
        for pk, role, content, stop_reason, question_holder, has_children in rows.values_list(
            "pk", "role", "content", "stop_reason", "question_holder", "has_children"
        )[:most]
    ]
