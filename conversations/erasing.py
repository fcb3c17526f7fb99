"""Forgetting a person: everything they said and who they were. What was spent stays, under an id that names nobody."""

import time
from collections.abc import Iterator

from django.db import transaction
from django.db.models import F

from bedrock_chat.database import database_now
from bedrock_chat.identity.models import User
from bedrock_chat.wire.errors import NotFound
from bedrock_chat.wire.ids import new_id
from conversations import editing
from conversations.models import Conversation, Message, ModelCall

AT_A_TIME = 100
LOOK_SECONDS = 0.2


def erase(user_id: str) -> Iterator[str]:
    """Erases a user; yields a sentence for each step as it is done. Raises NotFound.

    Their turns are stopped and waited for first, so that none closes into the ledger under their name afterwards. Files
    go with the next removal of blobs, when their grace is over. It may be called again after it was cut short.
    """
    if not User.objects.filter(pk=user_id).update(is_active=False):
        raise NotFound(f"No user found with id: {user_id}")
    yield "Suspended."
    stopped = _stop_turns(user_id)
    yield f"{stopped} running turns were stopped."
    yield from _delete_conversations(user_id)
    anonymous = f"erased:{new_id()}"
    kept = ModelCall.objects.filter(user_id=user_id).update(user_id=anonymous)
    yield f"{kept} calls stay in the ledger, under {anonymous}."
    User.objects.filter(pk=user_id).delete()
    yield "The user is gone."


def _stop_turns(user_id: str) -> int:
    """Stops what runs, and waits until it is over; no longer than a lease lives that nobody renews."""
    running = Message.objects.filter(conversation__user_id=user_id, lease_expires_at__isnull=False)
    stopped = running.update(stop_attempt=F("attempt"))
    while running.filter(lease_expires_at__gt=database_now()).exists():
        time.sleep(LOOK_SECONDS)
    return stopped


def _delete_conversations(user_id: str) -> Iterator[str]:
    rows = Conversation.objects.filter(user_id=user_id).order_by("pk")
    gone = 0
    while True:
        with transaction.atomic():
            batch = list(rows.select_for_update().values_list("pk", flat=True)[:AT_A_TIME])
            editing.delete_rows(batch)
        if not batch:
            return
        gone += len(batch)
        yield f"{gone} conversations are deleted."
