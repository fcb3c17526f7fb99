"""The lines of a page of PDF as paragraphs: a PDF knows where lines are drawn, not where sentences go on."""

import re
from typing import Final

_ENDS_SENTENCE: Final = re.compile(r"[.!?:;。！？：；]['\"”’»」』）)\]]*$")
_BEGINS_ITEM: Final = re.compile(r"\s*(?:[•◦▪‣·\-–*]\s|\(?\d{1,3}[.)]\s|\(?[a-z][.)]\s)")
_WIDE: Final = re.compile("[\u3000-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef]")
_FULL_LINE: Final = 0.75
"""A line at least so long, as a part of the page's usual longest ones, was broken because it was full."""
_SHORTEST: Final = 30
"""Lines of a page whose longest ones are shorter are those of a list, a form or a table."""


def joined_lines(text: str) -> str:
    """The text with one line per paragraph, heading, item or row of a table, as well as its lines' lengths tell."""
    rows = text.split("\n")
    lengths = sorted(map(_width, rows))
    full = lengths[int(len(lengths) * 0.9)] * _FULL_LINE
    if full < _SHORTEST * _FULL_LINE:
        return text
    joined = [rows[0]]
    previous = rows[0]
    for row in rows[1:]:
        if _goes_on(previous, row, full):
            joined[-1] += row.lstrip() if _WIDE.match(row[:1]) and _WIDE.match(previous[-1:]) else f" {row.lstrip()}"
        else:
            joined.append(row)
        previous = row
    return "\n".join(joined)


def _goes_on(previous: str, row: str, full: float) -> bool:
    if not previous or not row or _width(previous) < full or _BEGINS_ITEM.match(row):
        return False
    return not _ENDS_SENTENCE.search(previous) or _width(previous) >= full / _FULL_LINE


def _width(row: str) -> int:
    """Its length in columns: characters of East Asian scripts take two."""
    return len(row) + len(_WIDE.findall(row))
