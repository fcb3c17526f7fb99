"""The keys that rows of some time have, in tables without an index by it: keys ascend with time, so it is searched."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import QuerySet

OUT_OF_ORDER: Final = timedelta(hours=1)
"""How much later than a higher key a lower one may be written: transactions end in another order than they begin, and a
clock may be set back."""


@dataclass(frozen=True, slots=True)
class Keys:
    """From the first to the last key, both included. Where the last is less, there is none."""

    first: int
    last: int


def keys_between(rows: "QuerySet[Any, Any]", column: str, start: datetime, end: datetime) -> Keys:
    """The keys that rows from one time on, before another, can have. Rows of other times may lie between them."""
    first = first_key_since(rows, column, start - OUT_OF_ORDER)
    return Keys(first, first_key_since(rows, column, end + OUT_OF_ORDER, low=first) - 1)


def first_key_since(rows: "QuerySet[Any, Any]", column: str, moment: datetime, *, low: int | None = None) -> int:
    """The key of the first row from a time on, or the one after the last. Some 20 small queries for a million rows.

    `low`: no earlier key than this one is looked at.
    """
    rows = rows.order_by("pk")
    keys = rows.values_list("pk", flat=True)
    # Not as one query of both: SQLite would read the whole table for it.
    low, high = keys.first() or 0 if low is None else low, (keys.last() or 0) + 1
    while low < high:
        middle = (low + high) // 2
        row = rows.filter(pk__gte=middle).values_list("pk", column).first()
        if row is None or row[1] >= moment:
            high = middle
        else:
            low = row[0] + 1
    return low
