"""Who pays for a call, and which of them have budgets, as this process knows it.

A process reads who has budgets at most FRESH_SECONDS ago; the heartbeat does it more often, so that a turn does not. So
the first budget of a payer holds within FRESH_SECONDS in every process, and everything that is changed later at once:
limits are read in the statement that admits a call.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from django.db.models import Count, Max

from bedrock_chat.identity.caller import Caller
from bedrock_chat.ledger.budgets.models import Budget, PayerKind

FRESH_SECONDS: float = 5.0
BEAT_SECONDS: Final = 2.0

Payer = tuple[str, str]
"""A PayerKind and an id."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Who had budgets at a time of the monotonic clock. `version` is another one whenever that has changed."""

    payers: frozenset[Payer]
    version: tuple[int, int | None]
    read_at: float


NEVER: Final = Snapshot(frozenset(), (0, None), float("-inf"))
_snapshot = NEVER


def payers_of(actor: Caller, bot_id: str | None) -> list[Payer]:
    """Everybody whose budgets must have room for a call: who pays, each of their groups, the bot and the key."""
    payers: list[Payer] = [(PayerKind.GROUP, group) for group in sorted(actor.payer_groups)]
    if actor.payer_id is not None:
        payers.append((PayerKind.USER, actor.payer_id))
    if bot_id is not None:
        payers.append((PayerKind.BOT, bot_id))
    if actor.key_id is not None:
        payers.append((PayerKind.KEY, actor.key_id))
    return payers


def with_budgets(payers: Iterable[Payer]) -> list[Payer]:
    """Those of the payers who have budgets."""
    if time.monotonic() - _snapshot.read_at > FRESH_SECONDS:
        refresh()
    known = _snapshot.payers
    return [payer for payer in payers if payer in known] if known else []


def refresh() -> None:
    """Reads who has budgets, if that has changed. One small query, or two."""
    global _snapshot  # noqa: PLW0603  what this process knows
    now, earlier = time.monotonic(), _snapshot
    # Keys of budgets are never used again, so whatever is made or removed changes their number or the highest one.
    counted = Budget.objects.aggregate(count=Count("pk"), highest=Max("pk"))
    version, payers = (counted["count"], counted["highest"]), earlier.payers
    if version != earlier.version:
        payers = frozenset(Budget.objects.values_list("payer_kind", "payer_id").distinct())
    _snapshot = Snapshot(payers, version, now)


def forget() -> None:
    """Has the next call read who has budgets: this process has just changed it."""
    global _snapshot  # noqa: PLW0603
    _snapshot = NEVER
