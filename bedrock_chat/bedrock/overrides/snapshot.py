"""What operators have set of the models, as this process knows it: read at most FRESH_SECONDS ago.

The heartbeat reads it more often than that, so a turn finds it in memory. While the database is away, what was known
last goes on to hold: nothing that it admits can be done then.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from types import MappingProxyType
from typing import Final

from django.db import DatabaseError

from bedrock_chat.bedrock.overrides.models import PRICES, ModelOverride
from bedrock_chat.bedrock.pricing import OVERRIDES

FRESH_SECONDS: Final = 5.0
BEAT_SECONDS: Final = 2.0
RETRY_SECONDS: Final = 1.0

NOTHING: Final[Mapping[str, Decimal]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The rows at a time of the monotonic clock, by the keys of models.

    `disabled` are the models that nobody may use. `groups` has those that only members of some groups may use, `prices`
    those with prices of their own, under the names that MODEL_PRICES has for them. `default` is the one that operators
    have made the default one, if any.
    """

    disabled: frozenset[str]
    groups: Mapping[str, frozenset[str]]
    prices: Mapping[str, Mapping[str, Decimal]]
    default: str | None
    read_at: float

    @property
    def narrows(self) -> bool:
        """Whether somebody may use less than the environment offers."""
        return bool(self.disabled or self.groups)


NEVER: Final = Snapshot(frozenset(), {}, {}, None, float("-inf"))
_snapshot = NEVER


def current() -> Snapshot:
    """What operators have set, which is read again where it may be stale. Raises no error of the database.

    After such an error others need not wait for the next one: it is asked again RETRY_SECONDS later.
    """
    global _snapshot  # noqa: PLW0603  what this process knows
    if time.monotonic() - _snapshot.read_at > FRESH_SECONDS:
        try:
            refresh()
        except DatabaseError:
            _snapshot = replace(_snapshot, read_at=time.monotonic() - FRESH_SECONDS + RETRY_SECONDS)
    return _snapshot


def refresh() -> None:
    """Reads what operators have set: one query of a small table."""
    global _snapshot  # noqa: PLW0603  what this process knows
    now = time.monotonic()
    disabled, groups, prices, default = set(), {}, {}, None
    rows = ModelOverride.objects.values_list("key", "is_enabled", "is_default", "groups", *PRICES)
    for key, is_enabled, is_default, names, *amounts in rows:
        if not is_enabled:
            disabled.add(key)
        if names:
            groups[key] = frozenset(names)
        if is_default:
            default = key
        own_prices = {name: amount for name, amount in zip(OVERRIDES, amounts, strict=True) if amount is not None}
        if own_prices:
            prices[key] = own_prices
    _snapshot = Snapshot(frozenset(disabled), groups, prices, default, now)


def forget() -> None:
    """Has the next call read the rows: this process has just changed one."""
    global _snapshot  # noqa: PLW0603
    _snapshot = replace(_snapshot, read_at=float("-inf"))
