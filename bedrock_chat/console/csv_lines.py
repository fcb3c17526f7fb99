"""Lines of CSV files that people open in a spreadsheet."""

import csv
import io
from collections.abc import Iterable
from typing import Any, Final

FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""How a text begins that a spreadsheet takes for a formula."""


def line(cells: Iterable[Any]) -> str:
    """A line. Numbers stay as they are; a text, as somebody's name or an id, is no formula."""
    text = io.StringIO()
    csv.writer(text).writerow(map(_harmless, cells))
    return text.getvalue()


def _harmless(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell
