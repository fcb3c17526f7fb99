"""With whom a bot is shared, and which bots are pinned for everybody."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.conf import settings
from django.db import transaction

from bedrock_chat.audit import recording
from bedrock_chat.audit.recording import Change
from bedrock_chat.identity.caller import Actor, Caller
from bedrock_chat.wire.errors import BadRequest, Forbidden
from bots import access, verbs
from bots.models import Bot, BotGrant, Grantee, Scope


@dataclass(frozen=True, slots=True)
class People:
    """Whom the grants of a bot name: ids of users and names of groups, in the order in which they were sent."""

    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


def people_of(bot: Bot) -> People:
    """In one query."""
    grants = list(BotGrant.objects.filter(bot=bot).order_by("pk").values_list("kind", "grantee"))
    return People(
        users=tuple(grantee for kind, grantee in grants if kind == Grantee.USER),
        groups=tuple(grantee for kind, grantee in grants if kind == Grantee.GROUP),
    )


def share(bot_id: str, scope: Scope, users: Sequence[str] = (), groups: Sequence[str] = (), *, actor: Caller) -> None:
    """Sets with whom a bot is shared, for its owner or Admin. Only the scope `partial` has people.

    Raises NotFound, Forbidden, and BadRequest for a bot that is pinned or published and would not be everybody's.
    Where the setting BOT_STORE is off, nobody shares anything.
    """
    if scope != Scope.PRIVATE and not settings.BOT_STORE:
        raise Forbidden("This server has no bot store: bots are not shared here.")
    wanted = People(tuple(dict.fromkeys(users)), tuple(dict.fromkeys(groups))) if scope == Scope.PARTIAL else People()
    with transaction.atomic():
        bot = access.get_editable(actor, bot_id, lock=True)
        _refuse_narrowing(bot, scope)
        before = people_of(bot)
        if (bot.scope, before) == (scope, wanted):
            return
        changes = {
            "scope": Change(bot.scope, scope.value),
            "users": Change(before.users, wanted.users),
            "groups": Change(before.groups, wanted.groups),
        }
        bot.scope = scope
        bot.is_indexed = False
        bot.save(update_fields=["scope", "is_indexed"])
        BotGrant.objects.filter(bot=bot).delete()
        BotGrant.objects.bulk_create(_grants(bot, wanted))
        changed = {name: change for name, change in changes.items() if change.before != change.after}
        recording.record(verbs.SHARE, bot_id, actor=actor, fields=changed, values=changed)


def forget_person(user_id: str, *, actor: Actor) -> int:
    """Takes a person who is being erased from the lists of all bots. Returns of how many.

    The entries of the audit do not tell the people before and after: that would write down the person's id once more.
    """
    grants = BotGrant.objects.filter(kind=Grantee.USER, grantee=user_id)
    forgotten = 0
    for bot_id in list(grants.values_list("bot_id", flat=True)):
        with transaction.atomic():
            Bot.objects.filter(pk=bot_id).update(is_indexed=False)  # first, as whoever shares a bot locks it first
            deleted, _ = grants.filter(bot=bot_id).delete()
            if deleted:
                recording.record(verbs.SHARE, bot_id, actor=actor, fields=["users"])
                forgotten += 1
    return forgotten


def pin(bot_id: str, order: int, *, actor: Caller) -> None:
    """Pins a bot, by Admin. Raises Forbidden, NotFound, and BadRequest for a bot that is not everybody's."""
    with transaction.atomic():
        bot = access.get_as_admin(actor, bot_id, lock=True)
        if bot.scope != Scope.ALL:
            raise BadRequest(f"The bot {bot_id} is not shared with everybody; only such bots are pinned.")
        if bot.pinned_order != order:
            set_pinned_order(bot, order, actor=actor)


def unpin(bot_id: str, *, actor: Caller) -> None:
    """Takes a bot from the pinned ones, by Admin. Raises Forbidden, NotFound, and BadRequest for a private bot."""
    with transaction.atomic():
        bot = access.get_as_admin(actor, bot_id, lock=True)
        if bot.scope == Scope.PRIVATE:
            raise BadRequest(f"The bot {bot_id} is private; such bots are not pinned.")
        if bot.pinned_order is not None:
            set_pinned_order(bot, None, actor=actor)


def set_pinned_order(bot: Bot, order: int | None, *, actor: Actor) -> None:
    """Pins a locked bot, or unpins it, whoever may do so."""
    change = Change(bot.pinned_order, order)
    bot.pinned_order = order
    bot.save(update_fields=["pinned_order"])
    verb = verbs.UNPIN if order is None else verbs.PIN
    recording.record(verb, bot.pk, actor=actor, fields=["pinned_order"], values={"order": change})


def _refuse_narrowing(bot: Bot, scope: Scope) -> None:
    if scope == Scope.ALL:
        return
    if bot.pinned_order is not None:
        raise BadRequest("An administrator has pinned this bot; it stays shared with everybody until it is unpinned.")
    if bot.published_at is not None:
        raise BadRequest("This bot is published; it stays shared with everybody until its API is deleted.")


def _grants(bot: Bot, people: People) -> Iterable[BotGrant]:
    yield from (BotGrant(bot=bot, kind=Grantee.USER, grantee=user) for user in people.users)
    yield from (BotGrant(bot=bot, kind=Grantee.GROUP, grantee=group) for group in people.groups)
