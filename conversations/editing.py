"""Writes to conversations outside a turn, one function each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from bedrock_chat.blobs import storing
from bedrock_chat.database.connections import database_now, yield_sqlite_lock
from bedrock_chat.identity.caller import Caller
from conversations import access, search
from conversations.models import BLOB_OWNER, Conversation, Message

AT_A_TIME = 100


def rename(external_id: str, title: str, *, actor: Caller) -> None:
    """Gives a conversation a new title. Raises NotFound."""
    conversation = access.get_conversation(actor, external_id)
    # With `updated_at`, which is how search learns of it.
    Conversation.objects.filter(pk=conversation.pk).update(title=title, updated_at=database_now())


def give_feedback(
    conversation_external_id: str, message_external_id: str, feedback: dict[str, Any], *, actor: Caller
) -> None:
    """Keeps what the user thinks of a message, `system` and questions included, in place of what stood there.

    Raises NotFound.
    """
    conversation = access.get_conversation(actor, conversation_external_id)
    if message_external_id == "system":
        Conversation.objects.filter(pk=conversation.pk).update(feedback=feedback)
    else:
        message = access.get_message(conversation, message_external_id, database_now())
        Message.objects.filter(pk=message.pk).update(feedback=feedback)


def delete(external_id: str, *, actor: Caller) -> None:
    """Deletes a conversation with its messages. A turn that runs in it closes into the ledger alone.

    Raises NotFound.
    """
    with transaction.atomic():
        conversation = access.get_conversation(actor, external_id, lock=True)
        delete_rows([conversation.pk])


@dataclass(frozen=True, slots=True)
class Deleted:
    """Ids of conversations that were deleted, and of those that were not there."""

    found: list[str]
    missing: list[str]


def delete_many(external_ids: Sequence[str], *, actor: Caller) -> Deleted:
    """Deletes these conversations of the caller's, all in one transaction. An id that is named twice counts once."""
    with transaction.atomic():
        mine = Conversation.objects.visible_to(actor).filter(external_id__in=external_ids).order_by("pk")
        found = dict(mine.select_for_update().values_list("external_id", "pk"))
        delete_rows(list(found.values()))
    return Deleted(list(found), [named for named in dict.fromkeys(external_ids) if named not in found])


def delete_all(*, actor: Caller) -> None:
    """Deletes every conversation of the caller. Cut short, it has deleted some, and is asked again."""
    for _ in delete_in_batches(Conversation.objects.visible_to(actor)):
        pass


def delete_in_batches(rows: QuerySet[Conversation]) -> Iterator[int]:
    """Deletes conversations a hundred at a time; yields how many are gone so far. Others write in between."""
    gone = 0
    while True:
        with yield_sqlite_lock(pauses=1.0), transaction.atomic():
            locked = rows.order_by("pk").select_for_update()
            batch = list(locked.values_list("pk", flat=True)[:AT_A_TIME])
            delete_rows(batch)
        gone += len(batch)
        yield gone
        if len(batch) < AT_A_TIME:
            return


def delete_rows(rows: Sequence[int]) -> None:
    """Deletes conversations whose rows are locked, with all that hangs on them.

    A closing turn locks its conversation too, so nothing is added between the statements.
    """
    storing.forget(BLOB_OWNER, rows)
    search.forget(rows)
    Conversation.objects.filter(pk__in=rows).delete()
