"""Erases what conversations hold of a person (`bedrock_chat/identity/erasing.py`)."""

import time
from collections.abc import Iterator
from functools import partial

from django.db.models import Exists, F, OuterRef, QuerySet

from bedrock_chat.database.connections import database_now
from bedrock_chat.identity.caller import Actor
from bedrock_chat.identity.erasing import refuse_erasing
from bedrock_chat.search import index
from bots.models import Bot
from conversations import deleting
from conversations.models import Conversation, ConversationExport, Message
from conversations.turn import leases

LOOK_SECONDS = 0.2
BATCH = 200


def prepare(user_id: str, *, actor: Actor) -> Iterator[str]:
    """Stops the user's turns and waits for them, then deletes the user's conversations. Yields sentences on progress.

    Because of the wait, no turn writes ledger rows under the user's name afterwards.
    """
    stopped = stop_turns(Conversation.objects.filter(user_id=user_id))
    yield f"{stopped} running turns were stopped."
    refuse = partial(refuse_erasing, user_id)
    for deleted in deleting.delete_in_batches(Conversation.objects.filter(user_id=user_id), before_each=refuse):
        yield f"{deleted} conversations are deleted."
    forgotten = _forget_instructions()
    yield f"{forgotten} conversations forget the instruction of a bot that is gone."
    index.compact()
    yield "The index of searches is compacted."


def finish(user_id: str, *, actor: Actor) -> Iterator[str]:
    """Deletes what was begun since by requests that were still under way, with their bots as well.

    What is known of operators' exports of theirs goes, and their own exports name nobody any more.
    """
    rows = Conversation.objects.filter(user_id=user_id)
    deleting.delete_rows(list(rows.select_for_update().values_list("pk", flat=True)))
    _forget_instructions()
    ConversationExport.objects.filter(user_id=user_id).delete()
    ConversationExport.objects.filter(asked_by=user_id).update(asked_by="")
    yield from ()


def _forget_instructions() -> int:
    """Empties the instructions that conversations have taken over from bots that are gone. Returns how many.

    No turn sends them any more. Those of the user's bots are among them: their bots are deleted before.
    """
    gone = ~Exists(Bot.objects.filter(pk=OuterRef("bot_id")))
    rows = Conversation.objects.filter(gone, bot_id__isnull=False).exclude(instruction="")
    forgotten = 0
    while keys := list(rows.values_list("pk", flat=True)[:BATCH]):
        forgotten += Conversation.objects.filter(pk__in=keys).update(instruction="")
    return forgotten


def stop_turns(conversations: QuerySet[Conversation]) -> int:
    """Stops the turns that run there, and waits until they are over. Those of a dead process are, with their leases."""
    leased = Message.objects.filter(conversation__in=conversations, lease_expires_at__isnull=False)
    stopped = leased.update(stop_attempt=F("attempt"))
    leases.shorten(leased)
    while leased.running(database_now()).exists():
        time.sleep(LOOK_SECONDS)
    return stopped
