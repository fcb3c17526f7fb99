"""What a panel of the dashboard consists of: figures, a chart, and the same figures as a table. Pure.

A panel is data. The template shows it, `charts` draws it, and its table is also its CSV file.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

Value = str | int | float | Decimal | None


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that is read at a glance. `link` leads to what it counts."""

    label: str
    text: str
    link: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Cell:
    """A value of a table. `text` is how it is shown, where that is not the value itself. The file has the value."""

    value: Value
    text: str = ""
    link: str = ""

    @property
    def is_number(self) -> bool:
        return isinstance(self.value, int | float | Decimal)

    def __str__(self) -> str:
        return self.text or ("" if self.value is None else str(self.value))


class Unit(StrEnum):
    """What a column counts, which says how its numbers are written."""

    TEXT = "text"
    COUNT = "count"
    USD = "usd"
    MILLISECONDS = "ms"


@dataclass(frozen=True, slots=True)
class Column:
    title: str
    unit: Unit = Unit.TEXT

    @property
    def is_number(self) -> bool:
        return self.unit is not Unit.TEXT


@dataclass(frozen=True, slots=True)
class Table:
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]


class ChartKind(StrEnum):
    STACKED = "stacked"
    """A bar for each label, of which each series is a part."""
    LINES = "lines"
    """A line for each series; a value may be missing."""
    BARS = "bars"
    """Bars that lie, one for each label, of one series."""


@dataclass(frozen=True, slots=True)
class Series:
    """A name in the legend, and a value for each label of the chart."""

    name: str
    values: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Chart:
    """What is drawn. `title` is its accessible name."""

    kind: ChartKind
    title: str
    labels: Sequence[str]
    series: Sequence[Series]
    unit: Unit
    label_axis: str
    value_axis: str


@dataclass(frozen=True, slots=True)
class Panel:
    """`empty_text` is shown instead of chart and table that have no rows. `note` says what the figures leave out."""

    title: str
    figures: Sequence[Figure] = ()
    chart: Chart | None = None
    table: Table | None = None
    empty_text: str = "Nothing happened in this period."
    note: str = ""
    is_wide: bool = False

    @property
    def has_rows(self) -> bool:
        return self.table is not None and bool(self.table.rows)
