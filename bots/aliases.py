"""A person's own relation to a bot: the star, and the place among the bots that they used recently."""

from django.db import IntegrityError, transaction

from bedrock_chat.database.connections import database_now
from bedrock_chat.identity import users
from bedrock_chat.identity.caller import Caller
from bots import access
from bots.models import BotAlias


def set_star(bot_id: str, *, starred: bool, actor: Caller) -> None:
    """Raises NotFound, and Forbidden for a bot that is not the caller's to use."""
    if not starred:
        bot = access.get_usable(actor, bot_id).bot
        BotAlias.objects.filter(user=actor.user_id, bot=bot).update(is_starred=False)
        return
    try:
        with transaction.atomic():
            # Locked: else its texts could be written after its deletion or its owner's erasure has taken them away.
            bot = access.get_usable(actor, bot_id, lock=True).bot
            alias = BotAlias(
                user_id=access.person(actor),
                bot=bot,
                bot_owner_id=bot.owner_id,
                title=bot.title,
                description=bot.description,
                is_starred=True,
                created_at=database_now(),
            )
            BotAlias.objects.bulk_create(
                [alias],
                update_conflicts=True,
                unique_fields=["user", "bot"],
                update_fields=["is_starred", "title", "description"],
            )
    except IntegrityError:
        users.refuse_erased(actor)
        raise


def forget_use(bot_id: str, *, actor: Caller) -> None:
    """Takes a bot from the recently used ones. One that is not available any more leaves all lists of the caller.

    Raises NotFound where there is neither such a bot nor a row of the caller's, and Forbidden for another's bot without
    such a row.
    """
    known = access.find(actor, bot_id)
    rows = BotAlias.objects.filter(user=actor.user_id, bot=bot_id)
    if known is not None and access.may_use(actor, known.bot, is_granted=known.is_granted):
        rows.update(last_used_at=None)
        return
    deleted, _ = rows.delete()
    if not deleted:
        raise access.no_bot(bot_id) if known is None else access.not_yours(bot_id)
