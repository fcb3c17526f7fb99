"""Access to bots: only here are rows fetched by id, and only for a caller who may do what they want with them."""

from dataclasses import dataclass

from django.conf import settings
from django.db.models import Exists, OuterRef

from bedrock_chat.identity.caller import CREATING_BOT_ALLOWED, Caller
from bedrock_chat.identity.permissions import refuse_all_but_admin
from bedrock_chat.wire.errors import BadRequest, Forbidden, NotFound
from bots.models import Bot, BotAlias, BotGrant, BotVersion, Scope


@dataclass(frozen=True, slots=True)
class Found:
    """A bot that the caller may use, with the caller's row of it, if there is one."""

    bot: Bot
    alias: BotAlias | None
    is_granted: bool


def may_use(actor: Caller, bot: Bot, *, is_granted: bool) -> bool:
    """The rule of `BotQuerySet.usable_by`. `is_granted`: a grant of this bot names the caller, or a group of theirs."""
    return actor.is_admin or is_listed(actor, bot, is_granted=is_granted)


def is_listed(actor: Caller, bot: Bot, *, is_granted: bool) -> bool:
    """The rule of `BotQuerySet.listed_for`."""
    if actor.user_id is None:
        return False
    return owns(actor, bot) or bot.scope == Scope.ALL or (bot.scope == Scope.PARTIAL and is_granted)


def person(actor: Caller) -> str:
    """The id of the user who calls. Raises Forbidden for a key of a publication."""
    if actor.user_id is None:
        raise Forbidden
    return actor.user_id


def owns(actor: Caller, bot: Bot) -> bool:
    return actor.user_id == bot.owner_id


def may_edit(actor: Caller, bot: Bot) -> bool:
    """The owner and Admin."""
    return owns(actor, bot) or actor.is_admin


def refuse_creating(actor: Caller) -> None:
    """Raises Forbidden for somebody who may not make bots."""
    if not actor.is_in(CREATING_BOT_ALLOWED):
        raise Forbidden("You may not create bots: that takes the group CreatingBotAllowed.")


def refuse_more_bots(actor: Caller) -> None:
    """Raises BadRequest for somebody who has as many bots as one may have."""
    if Bot.objects.filter(owner=actor.user_id).count() >= settings.BOTS_PER_USER:
        raise BadRequest(f"You have {settings.BOTS_PER_USER} bots, as many as one may have; delete one first.")


def get_usable(actor: Caller, bot_id: str, *, lock: bool = False) -> Found:
    """A bot that the caller may chat with, in two queries. Raises NotFound for an unknown id, else Forbidden.

    With `lock`, the bot cannot be deleted until the transaction ends.
    """
    known = find(actor, bot_id, lock=lock)
    if known is None:
        raise no_bot(bot_id)
    if not may_use(actor, known.bot, is_granted=known.is_granted):
        raise not_yours(bot_id)
    return known


def find(actor: Caller, bot_id: str, *, lock: bool = False) -> Found | None:
    """The bot of that id and the caller's row of it, whether or not they may use it; None for an unknown id."""
    granted = Exists(BotGrant.objects.to(actor).filter(bot=OuterRef("pk")))
    rows = Bot.objects.select_for_update(no_key=True) if lock else Bot.objects.select_related("knowledge__serving")
    bot = rows.filter(pk=bot_id).annotate(is_granted=granted).first()
    if bot is None:
        return None
    return Found(bot, find_alias(actor, bot_id), bot.is_granted)


def get_editable(actor: Caller, bot_id: str, *, lock: bool = False) -> Bot:
    """A bot that the caller may change. Raises NotFound for an unknown id, and Forbidden for one of somebody else.

    With `lock`, the row is locked until the transaction ends.
    """
    bot = _get(bot_id, lock=lock)
    if not may_edit(actor, bot):
        raise not_yours(bot_id)
    return bot


def get_clonable(actor: Caller, bot_id: str) -> Bot:
    """A bot that the caller may have a copy of, for callers who may use it and make bots. Its row is locked.

    Raises NotFound for an unknown id, else Forbidden.
    """
    bot = _get(bot_id, lock=True)
    get_usable(actor, bot_id)
    refuse_creating(actor)
    if not (bot.allow_cloning or may_edit(actor, bot)):
        raise Forbidden(f"The owner of the bot {bot_id} does not allow to clone it.")
    return bot


def get_owned(actor: Caller, bot_id: str) -> Bot:
    """A bot of the caller's own. Raises NotFound, and Forbidden for one of somebody else, Admin included."""
    bot = _get(bot_id)
    if not owns(actor, bot):
        raise Forbidden("This bot is somebody else's.")
    return bot


def get_as_admin(actor: Caller, bot_id: str, *, lock: bool = False) -> Bot:
    """Anybody's bot, for Admin. Raises Forbidden for everybody else, whatever the id, and NotFound."""
    refuse_all_but_admin(actor)
    return _get(bot_id, lock=lock)


def get_version(bot: Bot, number: int) -> BotVersion:
    """A version of a bot that the caller may change. Raises NotFound, also for a version that went with time."""
    version = BotVersion.objects.filter(bot=bot, number=number).first()
    if version is None:
        raise NotFound(f"The bot has no version {number}.")
    return version


def no_bot(bot_id: str) -> NotFound:
    return NotFound(f"No bot found with id: {bot_id}")


def not_yours(bot_id: str) -> Forbidden:
    return Forbidden(f"You may not do this with the bot {bot_id}.")


def _get(bot_id: str, *, lock: bool = False) -> Bot:
    rows = Bot.objects.select_for_update() if lock else Bot.objects.select_related("knowledge__serving")
    bot = rows.filter(pk=bot_id).first()
    if bot is None:
        raise no_bot(bot_id)
    return bot


def find_alias(actor: Caller, bot_id: str) -> BotAlias | None:
    """The caller's row of a bot, which may be gone by now."""
    return BotAlias.objects.filter(user=actor.user_id, bot=bot_id).first()
