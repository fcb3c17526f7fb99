"""What bots have cost, and how much they are used."""

from datetime import datetime
from decimal import Decimal

from django.db.models import Sum

from bedrock_chat.identity.caller import Caller
from bedrock_chat.identity.permissions import refuse_all_but_admin
from bedrock_chat.ledger.rollups import ranking
from bedrock_chat.ledger.rollups.models import Dimension
from bots.models import Bot, BotAlias

UNREAD = ("instruction", "configuration", "encrypted_secrets")


def dearest_bots(*, hours: tuple[datetime, datetime] | None, limit: int, actor: Caller) -> list[tuple[Bot, Decimal]]:
    """Every bot that was used in some hours (None: today), private ones too, with what it cost; the dearest first.

    Raises Forbidden for all but Admin.
    """
    refuse_all_but_admin(actor)
    return ranking.dearest(Bot.objects.defer(*UNREAD), by=Dimension.BOT, hours=hours, limit=limit)


def uses_of(bot: Bot) -> int:
    """How often a bot was used until now, by people who are still here."""
    sums = BotAlias.objects.filter(bot=bot).aggregate(all_uses=Sum("uses", default=0))
    return int(sums["all_uses"])
