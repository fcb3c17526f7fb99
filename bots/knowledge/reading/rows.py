"""Rows of a table as lines of text: each says of which column its values are."""

from collections.abc import Iterable, Sequence
from typing import Final

from bots.knowledge.reading.building import Builder
from bots.knowledge.reading.cleaning import line

_SEARCHED_FOR_HEADER: Final = 10
"""How many rows a sheet may have above the names of its columns: a title, a date, an empty line."""
_MOST_IN_CELL: Final = 1_000_000


def add_rows(builder: Builder, rows: Iterable[Sequence[str]]) -> None:
    """A line per row: `header: value; header: value`. Blank cells are left out, and so are blank rows.

    The first row of at least two cells, all of them words, names the columns. Rows above it, and rows of a table
    without such a row, are their values alone.
    """
    header: Sequence[str] | None = None
    searched = 0
    for row in rows:
        cells = [line(cell, _MOST_IN_CELL) if cell else "" for cell in row]
        filled = [cell for cell in cells if cell]
        if not filled:
            continue
        if header is None and searched < _SEARCHED_FOR_HEADER:
            searched += 1
            if len(filled) > 1 and not any(map(_is_number, filled)):
                header = cells
                continue
        if header is None:
            builder.add("; ".join(filled), separator="\n")
        else:
            builder.add(_described(header, cells), separator="\n")
    if header is not None and not builder.has_text:
        builder.add("; ".join(filter(None, header)), separator="\n")


def _described(header: Sequence[str], cells: Sequence[str]) -> str:
    names = [*header, *[""] * (len(cells) - len(header))]
    return "; ".join(f"{name}: {cell}" if name else cell for name, cell in zip(names, cells, strict=False) if cell)


def _is_number(cell: str) -> bool:
    return not any(character.isalpha() for character in cell)
