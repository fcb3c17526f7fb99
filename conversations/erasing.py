"""Forgetting a person: everything they said and who they were. What was spent stays, under an id that names nobody."""

import time
from collections.abc import Iterator

from django.db import transaction
from django.db.models import F

from bedrock_chat.database.connections import database_now, truncate_log
from bedrock_chat.identity.models import User
from bedrock_chat.ledger import recording
from bedrock_chat.ledger.models import ModelCall
from bedrock_chat.search import index
from bedrock_chat.wire.errors import NotFound
from conversations import editing
from conversations.models import Conversation, Message

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
    conversations = Conversation.objects.filter(user_id=user_id)
    for gone in editing.delete_in_batches(conversations):
        yield f"{gone} conversations are deleted."
    index.compact()
    yield "The index of searches is compacted."
    anonymous = recording.erased_id()
    with transaction.atomic():
        # Requests that were under way may have begun something since. From here on they find no user: what has a
        # foreign key to this row waits for the lock and fails, and the ledger looks for it (`recording.insert_late`).
        list(User.objects.select_for_update().filter(pk=user_id).values_list("pk"))
        editing.delete_rows(list(conversations.select_for_update().values_list("pk", flat=True)))
        kept = ModelCall.objects.filter(user_id=user_id).update(user_id=anonymous, payer_id=anonymous)
        User.objects.filter(pk=user_id).delete()
    yield f"{kept} calls stay in the ledger, under {anonymous}."
    truncate_log()
    yield "The user is gone."


def _stop_turns(user_id: str) -> int:
    """Stops what runs, and waits until it is over; no longer than a lease lives that nobody renews."""
    running = Message.objects.filter(conversation__user_id=user_id, lease_expires_at__isnull=False)
    stopped = running.update(stop_attempt=F("attempt"))
    while running.running(database_now()).exists():
        time.sleep(LOOK_SECONDS)
    return stopped
