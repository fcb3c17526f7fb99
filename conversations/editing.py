"""Writes to conversations outside a turn, one function each."""

from collections.abc import Sequence

from django.db import transaction

from bedrock_chat import blobs
from bedrock_chat.identity.caller import Caller
from conversations import access
from conversations.models import Conversation
from conversations.opening import BLOB_OWNER


def rename(conversation_id: str, title: str, *, actor: Caller) -> None:
    """Gives a conversation a new title. Raises NotFound."""
    conversation = access.get_conversation(actor, conversation_id)
    Conversation.objects.filter(pk=conversation.pk).update(title=title)


def delete(conversation_id: str, *, actor: Caller) -> None:
    """Deletes a conversation with its messages. A turn that runs in it closes into the ledger alone.

    Raises NotFound.
    """
    with transaction.atomic():
        conversation = access.get_conversation(actor, conversation_id, lock=True)
        delete_rows([conversation.pk])


def delete_all(*, actor: Caller) -> None:
    """Deletes every conversation of the caller."""
    with transaction.atomic():
        rows = Conversation.objects.visible_to(actor).order_by("pk").select_for_update()
        delete_rows(list(rows.values_list("pk", flat=True)))


def delete_rows(rows: Sequence[int]) -> None:
    """Deletes conversations whose rows are locked, with all that hangs on them.

    A closing turn locks its conversation too, so nothing is added between the statements.
    """
    blobs.forget(BLOB_OWNER, rows)
    Conversation.objects.filter(pk__in=rows).delete()
