"""Lists of bots: one query each, at any number of bots. Before a list without a limit another one asks for its size:
whoever reads it must know first whether there is room for it in memory.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial, reduce
from operator import add
from typing import Any

from django.conf import settings
from django.db.models import Count, Exists, FilteredRelation, OuterRef, Q, QuerySet, Sum
from django.db.models.functions import Coalesce, Length

from bedrock_chat.identity.caller import Caller
from bots import access
from bots.knowledge import status
from bots.models import Bot, BotAlias, BotGrant, SyncStatus

BOT_COLUMNS = Bot.in_order(
    "id", "title", "description", "owner_id", "scope", "pinned_order", "sync_status", "created_at"
)
MOST_STARS = 1000
BYTES_PER_ENTRY = 400
"""About, without title and description."""
BYTES_PER_CHARACTER = 4
"""At most."""
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
    sync_status: SyncStatus = SyncStatus.SUCCEEDED


@dataclass(frozen=True, slots=True)
class Listing:
    """A list that may not be read yet, and about how many bytes it takes."""

    size: int
    read: Callable[[], list[Entry]]


def chosen(*, kind: str, starred: bool, limit: int, actor: Caller) -> Listing:
    """The list that a query asks for: `private`, or `mixed` with either a limit or the stars. No limit is 0.

    One with a limit is short enough to be read at once.
    """
    if kind == "mixed" and starred:
        texts = ("title", "description", "bot__title", "bot__description")
        return Listing(_size_of(_starred(actor), *texts), partial(with_star, actor))
    if not limit:
        return Listing(_size_of(_owned(actor), "title", "description"), partial(own, actor))
    return already_read(own(actor, limit) if kind == "private" else recently_used(actor, limit))


def already_read(entries: list[Entry]) -> Listing:
    """A list that was short enough to be read at once."""
    characters = sum(len(entry.title) + len(entry.description) for entry in entries)
    return Listing(_bytes(len(entries), characters), lambda: entries)


def pinned_for(actor: Caller) -> Listing:
    """The bots that are pinned for everybody. As recorded, they are nobody's own."""
    return Listing(_size_of(_pinned(actor), "title", "description"), partial(pinned, actor))


def last_use(actor: Caller, bot: Bot) -> datetime | None:
    """When the caller's last turn with a bot was."""
    alias = access.find_alias(actor, bot.pk)
    return None if alias is None else alias.last_used_at


def own(actor: Caller, limit: int | None = None) -> list[Entry]:
    """The caller's own bots: the one that they used or made last comes first."""
    bots = _with_alias(_owned(actor), actor)
    bots = bots.annotate(last_used_at=Coalesce("alias__last_used_at", "created_at")).order_by("-last_used_at", "pk")
    return list(_entries_of_bots(actor, bots[:limit]))


def pinned(actor: Caller) -> list[Entry]:
    """The bots that are pinned for everybody, in their order."""
    bots = _with_alias(_pinned(actor), actor)
    bots = bots.annotate(last_used_at=Coalesce("alias__last_used_at", "created_at"))
    return list(_entries_of_bots(actor, bots.order_by("pinned_order", "title", "pk"), owned=False))


def recently_used(actor: Caller, limit: int) -> list[Entry]:
    """The bots that the caller has used, the last one first, also those that are not available any more."""
    aliases = BotAlias.objects.filter(user=actor.user_id, last_used_at__isnull=False)
    return list(_entries_of_aliases(actor, aliases.order_by("-last_used_at", "bot_id")[:limit]))


def with_star(actor: Caller) -> list[Entry]:
    """The caller's stars, by their last use, also those that are not available any more. MOST_STARS at most."""
    entries = _entries_of_aliases(actor, _starred(actor).order_by("-pk")[:MOST_STARS])
    return sorted(entries, key=lambda entry: (-entry.last_used_at.timestamp(), entry.bot_id))


def in_order(bots: QuerySet[Bot], bot_ids: Sequence[str], actor: Caller) -> list[Entry]:
    """Those of the bots that have these ids, in the order of the ids."""
    wanted = _with_alias(bots.filter(pk__in=bot_ids), actor)
    wanted = wanted.annotate(last_used_at=Coalesce("alias__last_used_at", "created_at"))
    by_id = {entry.bot_id: entry for entry in _entries_of_bots(actor, wanted)}
    return [by_id[bot_id] for bot_id in bot_ids if bot_id in by_id]


def _owned(actor: Caller) -> QuerySet[Bot]:
    return Bot.objects.filter(owner=actor.user_id)


def _pinned(actor: Caller) -> QuerySet[Bot]:
    """None where the setting BOT_STORE is off."""
    if not settings.BOT_STORE:
        return Bot.objects.none()
    return Bot.objects.listed_for(actor).filter(pinned_order__isnull=False)


def _starred(actor: Caller) -> QuerySet[BotAlias]:
    return BotAlias.objects.filter(user=actor.user_id, is_starred=True)


def _size_of(rows: QuerySet[Any], *texts: str) -> int:
    """About how many bytes a list of all these rows takes, of which the database reads these columns."""
    lengths = reduce(add, (Coalesce(Length(text), 0) for text in texts))
    return _bytes(*rows.aggregate(rows=Count("pk"), characters=Sum(lengths, default=0)).values())


def _bytes(rows: int, characters: int) -> int:
    return rows * BYTES_PER_ENTRY + characters * BYTES_PER_CHARACTER


def _with_alias(bots: QuerySet[Bot], actor: Caller) -> QuerySet[Bot]:
    alias = FilteredRelation("aliases", condition=Q(aliases__user=actor.user_id))
    return bots.annotate(alias=alias)


def _entries_of_bots(actor: Caller, bots: QuerySet[Bot], *, owned: bool | None = None) -> Iterator[Entry]:
    rows = bots.values_list(*BOT_COLUMNS, "last_used_at", "alias__is_starred", "knowledge__sync_status")
    for *columns, last_used_at, is_starred, knowledge in rows:
        bot = _bot(columns)
        is_owned = access.owns(actor, bot) if owned is None else owned
        texts = (bot.title, bot.description, bot.created_at, last_used_at)
        yield Entry(bot.pk, bot, *texts, bool(is_starred), is_owned, status.shown(bot.sync_status, knowledge))


def _entries_of_aliases(actor: Caller, aliases: QuerySet[BotAlias]) -> Iterator[Entry]:
    granted = Exists(BotGrant.objects.to(actor).filter(bot=OuterRef("bot_id")))
    of_bot = ["bot__knowledge__sync_status", *(f"bot__{column}" for column in BOT_COLUMNS)]
    of_alias = ("bot_id", "title", "description", "created_at", "last_used_at", "is_starred")
    for (
        is_granted,
        bot_id,
        title,
        description,
        created_at,
        used_at,
        is_starred,
        knowledge,
        *columns,
    ) in aliases.annotate(is_granted=granted).values_list("is_granted", *of_alias, *of_bot):
        bot = None if columns[SCOPE] is None else _bot(columns)
        if bot is None or not access.may_use(actor, bot, is_granted=is_granted):
            yield Entry(bot_id, None, title, description, created_at, used_at or created_at, is_starred, False)
        else:
            last_used_at = used_at or bot.created_at
            is_owned = access.owns(actor, bot)
            texts = (bot.title, bot.description, bot.created_at, last_used_at)
            yield Entry(bot_id, bot, *texts, is_starred, is_owned, status.shown(bot.sync_status, knowledge))


def _bot(columns: Collection[object]) -> Bot:
    """A bot of BOT_COLUMNS alone."""
    return Bot.from_db(None, BOT_COLUMNS, columns)
