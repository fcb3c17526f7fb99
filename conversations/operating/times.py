"""Keys of conversations and messages by time: there is no index by it, but keys ascend with it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import Model

from bedrock_chat.ledger.zones import Span

OUT_OF_ORDER: Final = timedelta(hours=1)
"""How much later than a higher key a lower one may be written: transactions end in another order than they begin, and a
clock may be set back."""


@dataclass(frozen=True, slots=True)
class Keys:
    """From the first to the last key, both included. Where the last is less, there is none."""

    first: int
    last: int


def keys_of(model: type[Model], span: Span) -> Keys:
    """The keys that rows of a span have, by their `created_at`. Rows of other times may lie between them."""
    rows: Any = model._default_manager.order_by("pk").values_list("pk", flat=True)
    # Not as one query of both: SQLite would read the whole table for it.
    low, high = rows.first() or 0, (rows.last() or 0) + 1
    first = _first_key_since(model, span.start - OUT_OF_ORDER, low, high)
    return Keys(first, _first_key_since(model, span.end + OUT_OF_ORDER, first, high) - 1)


def _first_key_since(model: type[Model], moment: datetime, low: int, high: int) -> int:
    """The first key from `low` on whose row is from a time on, or `high`. Some 20 small queries for a million rows."""
    rows: Any = model._default_manager.order_by("pk").values_list("pk", "created_at")
    while low < high:
        middle = (low + high) // 2
        row = rows.filter(pk__gte=middle).first()
        if row is None or row[1] >= moment:
            high = middle
        else:
            low = row[0] + 1
    return low
