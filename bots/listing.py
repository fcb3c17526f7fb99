"""Lists of bots: one query each, at any number of bots."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Exists, FilteredRelation, OuterRef, Q, QuerySet
from django.db.models.functions import Coalesce

from bedrock_chat.identity.caller import Caller
from bots import access
from bots.models import Bot, BotAlias, BotGrant

BOT_COLUMNS = Bot.in_order(
    "id", "title", "description", "owner_id", "scope", "pinned_order", "sync_status", "created_at"
)
MOST_STARS = 1000
SCOPE = BOT_COLUMNS.index("scope")
"""The column that is NULL only where an outer join has found no bot."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A bot as lists show it to somebody.

    `bot` is None where it is gone or not theirs to use any more; then the title and the description are those that they
    saw last.
    """

    bot_id: str
    bot: Bot | None
    title: str
    description: str
    created_at: datetime
    last_used_at: datetime
    is_starred: bool
    is_owned: bool


def chosen(*, kind: str, starred: bool, limit: int, actor: Caller) -> list[Entry]:
    """The list that a query asks for: `private`, or `mixed` with either a limit or the stars. No limit is 0."""
    if kind == "private":
        return own(actor, limit or None)
    return with_star(actor) if starred else recently_used(actor, limit)


def last_use(actor: Caller, bot: Bot) -> datetime | None:
    """When the caller's last turn with a bot was."""
    alias = access.find_alias(actor, bot.pk)
    return None if alias is None else alias.last_used_at


def own(actor: Caller, limit: int | None = None) -> list[Entry]:
    """The caller's own bots: the one that they used or made last comes first."""
    bots = _with_alias(Bot.objects.filter(owner=actor.user_id), actor)
    bots = bots.annotate(last_used_at=Coalesce("alias__last_used_at", "created_at")).order_by("-last_used_at", "pk")
    return list(_entries_of_bots(actor, bots[:limit]))


def pinned(actor: Caller) -> list[Entry]:
    """The bots that are pinned for everybody, in their order. As recorded, they are nobody's own."""
    bots = _with_alias(Bot.objects.listed_for(actor).filter(pinned_order__isnull=False), actor)
    bots = bots.annotate(last_used_at=Coalesce("alias__last_used_at", "created_at"))
    return list(_entries_of_bots(actor, bots.order_by("pinned_order", "title", "pk"), owned=False))


def recently_used(actor: Caller, limit: int) -> list[Entry]:
    """The bots that the caller has used, the last one first, also those that are not available any more."""
    aliases = BotAlias.objects.filter(user=actor.user_id, last_used_at__isnull=False)
    return list(_entries_of_aliases(actor, aliases.order_by("-last_used_at", "bot_id")[:limit]))


def with_star(actor: Caller) -> list[Entry]:
    """The caller's stars, by their last use, also those that are not available any more. MOST_STARS at most."""
    aliases = BotAlias.objects.filter(user=actor.user_id, is_starred=True).order_by("-pk")[:MOST_STARS]
    entries = _entries_of_aliases(actor, aliases)
    return sorted(entries, key=lambda entry: (-entry.last_used_at.timestamp(), entry.bot_id))


def size_of(entries: Iterable[Entry]) -> int:
    """About how many bytes a list is on the wire."""
    return sum(400 + len(entry.title) + len(entry.description) for entry in entries)


def _with_alias(bots: QuerySet[Bot], actor: Caller) -> QuerySet[Bot]:
    alias = FilteredRelation("aliases", condition=Q(aliases__user=actor.user_id))
    return bots.annotate(alias=alias)


def _entries_of_bots(actor: Caller, bots: QuerySet[Bot], *, owned: bool | None = None) -> Iterator[Entry]:
    rows = bots.values_list(*BOT_COLUMNS, "last_used_at", "alias__is_starred")
    for *columns, last_used_at, is_starred in rows:
        bot = _bot(columns)
        is_owned = access.owns(actor, bot) if owned is None else owned
        yield Entry(bot.pk, bot, bot.title, bot.description, bot.created_at, last_used_at, bool(is_starred), is_owned)


def _entries_of_aliases(actor: Caller, aliases: QuerySet[BotAlias]) -> Iterator[Entry]:
    granted = Exists(BotGrant.objects.to(actor).filter(bot=OuterRef("bot_id")))
    of_bot = [f"bot__{column}" for column in BOT_COLUMNS]
    of_alias = ("bot_id", "title", "description", "created_at", "last_used_at", "is_starred")
    for is_granted, bot_id, title, description, created_at, used_at, is_starred, *columns in aliases.annotate(
        is_granted=granted
    ).values_list("is_granted", *of_alias, *of_bot):
        bot = None if columns[SCOPE] is None else _bot(columns)
        if bot is None or not access.may_use(actor, bot, is_granted=is_granted):
            yield Entry(bot_id, None, title, description, created_at, used_at or created_at, is_starred, False)
        else:
            last_used_at = used_at or bot.created_at
            is_owned = access.owns(actor, bot)
            yield Entry(bot_id, bot, bot.title, bot.description, bot.created_at, last_used_at, is_starred, is_owned)


def _bot(columns: Collection[object]) -> Bot:
    """A bot of BOT_COLUMNS alone."""
    return Bot.from_db(None, BOT_COLUMNS, columns)
