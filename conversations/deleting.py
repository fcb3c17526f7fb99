"""Deletes conversations with everything that belongs to them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from django.db import transaction
from django.db.models import QuerySet

from bedrock_chat.blobs import storing
from bedrock_chat.database.connections import yield_sqlite_lock
from bedrock_chat.identity.caller import Caller
from conversations import access
from conversations.models import BLOB_OWNER, Conversation
from conversations.search import indexing

AT_A_TIME = 100


def delete(external_id: str, *, actor: Caller) -> None:
    """Deletes a conversation with its messages. A turn that runs in it then only writes its ledger rows at its close.

    Raises NotFound.
    """
    with transaction.atomic():
        conversation = access.get_conversation(actor, external_id, lock=True)
        delete_rows([conversation.pk])


@dataclass(frozen=True, slots=True)
class Deleted:
    """External ids of conversations that were deleted, and of those that were not there."""

    ids: list[str]
    missing: list[str]


def delete_many(external_ids: Sequence[str], *, actor: Caller) -> Deleted:
    """Deletes those of the conversations that are the caller's, in one transaction. An id given twice counts once."""
    with transaction.atomic():
        rows = Conversation.objects.visible_to(actor).filter(external_id__in=external_ids).order_by("pk")
        keys = dict(rows.select_for_update().values_list("external_id", "pk"))
        delete_rows(list(keys.values()))
    return Deleted(list(keys), [external_id for external_id in dict.fromkeys(external_ids) if external_id not in keys])


def delete_all(*, actor: Caller) -> None:
    """Deletes every conversation of the caller. If it is cut short, some are deleted, and it has to be called again."""
    for _ in delete_in_batches(Conversation.objects.visible_to(actor)):
        pass


def delete_in_batches(rows: QuerySet[Conversation], *, before_each: Callable[[], None] = lambda: None) -> Iterator[int]:
    """Deletes conversations a hundred at a time. Yields how many are gone so far. Others can write in between.

    `before_each` is called first in each transaction, and may raise: then no more are deleted.
    """
    deleted = 0
    while True:
        with yield_sqlite_lock(pauses=1.0), transaction.atomic():
            before_each()
            locked = rows.order_by("pk").select_for_update()
            batch = list(locked.values_list("pk", flat=True)[:AT_A_TIME])
            delete_rows(batch)
        deleted += len(batch)
        yield deleted
        if len(batch) < AT_A_TIME:
            return


def delete_rows(keys: Sequence[int]) -> None:
    """Deletes conversations whose rows are locked, with everything that belongs to them.

    A closing turn locks its conversation too, so nothing is added between the statements.
    """
    storing.forget(BLOB_OWNER, keys)
    indexing.forget(keys)
    Conversation.objects.filter(pk__in=keys).delete()
