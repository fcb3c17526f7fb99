"""How numbers and times are written on pages of the console. Pure but for the zone of the setting."""

from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from bedrock_chat.console.panels import Cell, Unit
from bedrock_chat.ledger import zones

CENT: Final = Decimal("0.01")
SMALLEST: Final = Decimal("0.0001")


def number(value: float) -> str:
    return f"{value:,.0f}"


def short_number(value: float) -> str:
    """For axes and tiles: `1.2 M` for 1,234,567, and three digits of what is less than one."""
    for limit, suffix in ((1e9, "bn"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            return f"{value / (limit if suffix != 'k' else 1e3):,.1f}".removesuffix(".0") + f" {suffix}"
    if 0 < abs(value) < 1:
        return f"{value:.3g}".replace("e-0", "e-")
    return f"{value:,.2f}".rstrip("0").rstrip(".")


def usd(value: Decimal) -> str:
    """USD, in cents; what is less than a dollar with four digits."""
    digits = CENT if value >= 1 or value == 0 else SMALLEST
    if 0 < value < SMALLEST:
        return f"less than ${SMALLEST}"
    return f"${value.quantize(digits, ROUND_HALF_UP):,}"


def milliseconds(value: int | None) -> str:
    if value is None:
        return ""
    return f"{value:,} ms" if value < 1000 else f"{value / 1000:,.1f} s"


def axis_value(value: float, unit: Unit) -> str:
    if unit is Unit.USD:
        return f"${short_number(value)}"
    if unit is Unit.MILLISECONDS:
        return "0" if value == 0 else milliseconds(round(value))
    return short_number(value)


def moment(at: datetime | None) -> str:
    """A time of the setting REPORT_TIME_ZONE, which is named with it; nothing for none."""
    return "" if at is None else zones.written(at)


def count_cell(value: int, link: str = "") -> Cell:
    return Cell(value, number(value), link)


def usd_cell(value: Decimal, link: str = "") -> Cell:
    return Cell(value, usd(value), link)


def time_cell(value: int | None, link: str = "") -> Cell:
    return Cell(value, milliseconds(value), link)
