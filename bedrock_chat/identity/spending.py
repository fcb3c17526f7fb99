"""What people have spent. The figures are the ledger's, which knows people by their ids; it registers how to rank."""

from datetime import datetime
from decimal import Decimal
from typing import Protocol

from django.db.models import QuerySet

from bedrock_chat.identity.caller import Caller
from bedrock_chat.identity.models import User
from bedrock_chat.identity.permissions import refuse_all_but_admin


class Rank(Protocol):
    """Those users that paid for something in these hours, with what they paid in USD, the dearest first."""

    def __call__(
        self, users: "QuerySet[User]", *, hours: tuple[datetime, datetime] | None, limit: int
    ) -> list[tuple[User, Decimal]]: ...


_ranks: list[Rank] = []


def register(rank: Rank) -> None:
    """Tells how people are ranked by what they paid. From `apps.ready`."""
    _ranks[:] = [rank]


def dearest_people(*, hours: tuple[datetime, datetime] | None, limit: int, actor: Caller) -> list[tuple[User, Decimal]]:
    """Those who paid for something in some hours (None: today), the dearest first. Raises Forbidden but for Admin."""
    refuse_all_but_admin(actor)
    [rank] = _ranks
    return rank(User.objects.only("id", "email"), hours=hours, limit=limit)
