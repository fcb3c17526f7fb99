"""What the store knows of each bot."""

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar, Final, Self

from django.db import models
from django.db.models import F, Q

from bedrock_chat.identity.caller import Caller
from bots.models import Bot, BotGrant, Scope

NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
LOTS: Final = 2**31 - 1
"""Lots are below this number, which is a prime."""

MOST_NAMED: Final = 1_000
"""Grants that are given to a query one by one."""


def lot_of(bot_id: str) -> int:
    """The lot that a bot draws once and for ever."""
    return int.from_bytes(hashlib.blake2b(bot_id.encode(), digest_size=8).digest()) % LOTS


class ListingQuerySet(models.QuerySet["Listing"]):
    def parts_for(self, actor: Caller) -> tuple[Self, ...]:
        """What `BotQuerySet.listed_for` shows somebody, in parts, each of which an index of its own finds.

        One condition for all of them would have the database look at every bot. The first part is as old as the index,
        and may have bots that are not everybody's any more: whoever shows a part asks the rows.
        """
        if actor.user_id is None:
            return ()
        return self.filter(is_everybodys=True), self.filter(bot__owner=actor.user_id), self.granted_to(actor)

    def granted_to(self, actor: Caller) -> Self:
        """What is shared with somebody by name, or with one of their groups. Reads their grants.

        They are given to the next query one by one, as long as they are few: PostgreSQL would take two hundred groups,
        however small, for a tenth of all grants, and read all listings.
        """
        grants = BotGrant.objects.to(actor)
        named = list(grants.values_list("bot", flat=True))  # all: with a limit, it would read all grants in their order
        bots = named if len(named) <= MOST_NAMED else grants.values("bot")
        return self.filter(bot__scope=Scope.PARTIAL, bot__in=bots)


class Listing(models.Model):
    """A bot's entry in the store. It is made when the bot is first indexed; a job removes it once the bot is gone.

    Its key is the bot's group in the index of searches. `is_everybodys` says how the bot was shared when it was last
    indexed: it only serves to find bots fast, and the bot's own row decides who sees it. `popularity` and
    `last_used_at` are over all people; the job `ranking.refresh` brings them up to date.
    """

    bot = models.OneToOneField(Bot, on_delete=models.DO_NOTHING, db_constraint=False, related_name="listing")
    is_everybodys = models.BooleanField("everybody's", default=False)
    popularity = models.FloatField(default=0.0)
    last_used_at = models.DateTimeField(default=NEVER)
    lot = models.PositiveBigIntegerField()

    objects: ClassVar[ListingQuerySet] = ListingQuerySet.as_manager()  # type: ignore[assignment]  # with its methods

    class Meta:
        default_permissions = ("view",)
        indexes = [
            models.Index(
                F("popularity").desc(),
                F("last_used_at").desc(),
                F("bot"),
                condition=Q(is_everybodys=True),
                name="everybodys_by_popularity",
            ),
            models.Index(fields=["lot", "bot"], condition=Q(is_everybodys=True), name="everybodys_by_lot"),
        ]
        constraints = [models.CheckConstraint(condition=Q(lot__lt=LOTS), name="listing_has_a_lot")]

    if TYPE_CHECKING:
        bot_id: str

    def __str__(self) -> str:
        return self.bot_id
