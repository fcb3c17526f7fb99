"""What a day on which somebody used a bot counts for the bot's popularity. Pure.

A day counts half of one that comes 14 days later. Instead of making old days count less and less, later ones count more
and more, which gives the same order. So a sum that is written once stays right, and a turn only adds to it.
"""

import math
from datetime import UTC, date, datetime
from typing import Final

HALF_LIFE: Final = 14
"""Days."""
DAY_SECONDS: Final = 86_400

_FIRST: Final = (date(2026, 1, 1) - date(1970, 1, 1)).days
"""A day that counts 1. The numbers last until 2065."""


def day_of(moment: datetime) -> int:
    """The day of a moment, which begins at 00:00 UTC, in days since 1970."""
    return int(moment.astimezone(UTC).timestamp() // DAY_SECONDS)


def of_day(day: int) -> float:
    return math.exp2((day - _FIRST) / HALF_LIFE)


def today(popularity: float, now: datetime) -> float:
    """A sum of days, told so that one use of today is 1."""
    return popularity / of_day(day_of(now))
