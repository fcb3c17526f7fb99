"""Prices as whole numbers of ten-billionths of a USD, the last digit that the ledger has of a price.

SQLite has no decimals of its own, and sums of its floating numbers are not exact.
"""

from decimal import Decimal
from typing import Final

DIGITS: Final = 10


def units_of(usd: Decimal) -> int:
    """A price in units. The ledger's prices have DIGITS digits, so nothing is lost."""
    return int(usd.scaleb(DIGITS).to_integral_value())


def usd_of(units: int) -> Decimal:
    """A number of units in USD, exactly."""
    return Decimal(units).scaleb(-DIGITS)
