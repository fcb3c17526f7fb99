"""What bots have cost, and how much they are used."""

from datetime import datetime
from decimal import Decimal

from django.db.models import Count, Q, Sum

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


def uses_of(bot: Bot) -> tuple[int, int]:
    """How often a bot was used until now, and by how many people who are still here."""
    rows = BotAlias.objects.filter(bot=bot)
    sums = rows.aggregate(all_uses=Sum("uses", default=0), people=Count("pk", filter=Q(uses__gt=0)))
    return sums["all_uses"], sums["people"]
