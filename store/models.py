"""What the store knows of each bot."""

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from django.db import models
from django.db.models import F, Q

from bots.models import Bot

NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
LOTS: Final = 2**31 - 1
"""Lots are below this number, which is a prime."""


def lot_of(bot_id: str) -> int:
    """The lot that a bot draws once and for ever."""
    return int.from_bytes(hashlib.blake2b(bot_id.encode(), digest_size=8).digest()) % LOTS


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
