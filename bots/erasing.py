"""Erases what bots hold of a person (`bedrock_chat/identity/erasing.py`). The ids of their bots stay taken.

Conversations of others with their bots stay as they are, like those with a bot that was deleted.
"""

from collections.abc import Iterator

from django.db import transaction

from bedrock_chat.blobs import uploads
from bedrock_chat.identity.caller import Actor, Caller
from bedrock_chat.identity.erasing import refuse_erasing
from bedrock_chat.ledger.recording import erased_id
from bots import editing, sharing
from bots.knowledge import deleting
from bots.models import Bot, BotAlias, BotGuardrail, BotVersion


def prepare(user_id: str, *, actor: Actor) -> Iterator[str]:
    """Deletes the user's bots, each in a transaction of its own, and takes the user from the lists of others' bots.

    No upload of theirs arrives any more where this server takes it. What a bucket takes until its addresses expire goes
    after a day, as everything that waits.
    """
    removed = uploads.remove_all(Caller(user_id=user_id).account)
    yield f"{removed} uploaded files that no bot has are removed."
    guarded = BotGuardrail.objects.filter(bot__owner=user_id).count()
    deleted = _delete_bots(user_id, actor)
    yield f"{deleted} bots are deleted."
    purged = deleting.purge_orphans()
    yield f"What {purged} bots knew is removed."
    yield f"{guarded} guardrails of theirs are deleted in Bedrock when no turn can use them any more."
    forgotten = sharing.forget_person(user_id, actor=actor)
    yield f"{forgotten} bots of others are not shared with the user any more."


def finish(user_id: str, *, actor: Actor) -> Iterator[str]:
    """Does the same with what requests under way have written since, and leaves no name elsewhere.

    The user's own stars and uses go with the user's row. Of others' bots only those rows are locked that were shared
    with the user since `prepare`: whoever edits one may be waiting for the user's row.
    """
    _delete_bots(user_id, actor)
    sharing.forget_person(user_id, actor=actor)
    entries, _ = BotAlias.objects.filter(bot_owner_id=user_id).delete()
    yield f"{entries} entries of the user's bots are taken from people's lists."
    nameless = erased_id()
    kept = BotVersion.objects.filter(author_id=user_id).update(author_id=nameless)
    yield f"{kept} versions of others' bots stay, under an id that names nobody."


def _delete_bots(user_id: str, actor: Actor) -> int:
    """Unpins and deletes the user's bots. Returns how many."""
    deleted = 0
    for bot_id in list(Bot.objects.filter(owner=user_id).values_list("pk", flat=True)):
        with transaction.atomic():
            refuse_erasing(user_id)
            bot = Bot.objects.select_for_update().filter(pk=bot_id, owner=user_id).first()
            if bot is None:  # deleted meanwhile, or given to somebody else
                continue
            if bot.pinned_order is not None:
                sharing.set_pinned_order(bot, None, actor=actor)
            editing.remove(bot, actor=actor)
            deleted += 1
    return deleted
