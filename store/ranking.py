"""The two lists of the store that nobody searches for: the popular bots, and the day's pick."""

import hashlib
import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any, Final

from django.conf import settings
from django.db import transaction
from django.db.models import F, Max, QuerySet, Sum
from django.db.models.expressions import Combinable

from bedrock_chat.database.connections import database_now, yield_sqlite_lock
from bedrock_chat.identity.caller import Caller
from bedrock_chat.jobs.queue import Claimed
from bots import listing, popularity
from bots.listing import Entry
from bots.models import Bot, BotAlias
from store.models import LOTS, NEVER, Listing

AT_ONCE: Final = 500
"""Listings that are written in one transaction: on SQLite every other writer waits for it."""
SPARE: Final = 2
"""So many times as many are looked at as are shown: some may have been narrowed since they were indexed."""
ALIKE: Final = 1e-9
"""Sums of the same days may differ by so much, relatively, because they are added in another order."""


def popular(*, limit: int, actor: Caller) -> list[Entry]:
    """What the caller may see: what most people used on most days comes first, recent days counting more.

    Of equally popular bots the one that was used last comes first, then the lower id.
    """
    order = (F("popularity").desc(), F("last_used_at").desc(), F("bot_id"))
    rows = [
        row
        for part in _parts(actor)
        for row in part.order_by(*order).values_list("popularity", "last_used_at", "bot_id")[: SPARE * limit]
    ]
    rows.sort(key=lambda row: (-row[0], -row[1].timestamp(), row[2]))
    return _entries((bot_id for _, _, bot_id in rows), limit, actor)


def pickup(*, limit: int, actor: Caller) -> list[Entry]:
    """A random choice of what the caller may see, the same one until 00:00 UTC."""
    drawn = _draw(database_now())
    rows = [
        row
        for part in _parts(actor)
        for row in part.annotate(drawn=drawn)
        .order_by("drawn", "bot_id")
        .values_list("drawn", "bot_id")[: SPARE * limit]
    ]
    return _entries(map(itemgetter(1), sorted(rows)), limit, actor)


def _parts(actor: Caller) -> Sequence[QuerySet[Listing]]:
    """What the caller may see, in parts. None where the setting BOT_STORE is off."""
    return Listing.objects.parts_for(actor) if settings.BOT_STORE else ()


def _entries(bot_ids: Iterable[str], limit: int, actor: Caller) -> list[Entry]:
    """The bots in this order, each once, if their rows say that the caller may see them now."""
    best = list(dict.fromkeys(bot_ids))[: SPARE * limit]
    return listing.in_order(Bot.objects.listed_for(actor), best, actor)[:limit]


def _draw(now: datetime) -> Combinable:
    """The place of a lot in the order of a day. Each day has its own, which is the same on all databases."""
    digest = hashlib.blake2b(str(popularity.day_of(now)).encode(), digest_size=16).digest()
    factor, shift = 1 + int.from_bytes(digest[:8]) % (LOTS - 1), int.from_bytes(digest[8:]) % LOTS
    drawn: Any = (F("lot") * factor + shift) % LOTS
    return drawn  # type: ignore[no-any-return]


# ---- The job --------------------------------------------------------------------------------------------------------


def refresh(job: Claimed | None = None) -> None:
    """Brings the listings up to date with what people used. A periodic job.

    People's rows are summed up anew, so nothing that was missed stays missed, and what an erased person used no longer
    counts. Only listings that differ are written. Raises LeaseLost where another worker has taken over.
    """
    used: dict[str, tuple[float, datetime | None]] = {
        bot_id: (total, last)
        for bot_id, total, last in BotAlias.objects.values_list("bot_id")
        .annotate(total=Sum("popularity"), last=Max("last_used_at"))
        .iterator()
    }
    changed: list[Listing] = []
    last_pk = 0
    while batch := list(Listing.objects.filter(pk__gt=last_pk).order_by("pk")[: 4 * AT_ONCE]):
        last_pk = batch[-1].pk
        changed += [row for row in batch if _take_over(row, *used.get(row.bot_id, (0.0, None)))]
    for first in range(0, len(changed), AT_ONCE):
        if job is not None:
            job.check()
        with yield_sqlite_lock(), transaction.atomic():
            Listing.objects.bulk_update(changed[first : first + AT_ONCE], ["popularity", "last_used_at"])


def _take_over(row: Listing, total: float, last: datetime | None) -> bool:
    """Writes figures into an unsaved row. Returns whether they differ."""
    before = (row.popularity, row.last_used_at)
    if not math.isclose(row.popularity, total, rel_tol=ALIKE):
        row.popularity = total
    row.last_used_at = max(row.last_used_at, last or NEVER)
    return before != (row.popularity, row.last_used_at)
