r"""Takes trafilatura's escapes out of the Markdown that it writes.

It writes `my\_name`, `2 \* 3` and `1\. January` so that a page of HTML can be made of its Markdown again. Here nobody
does: models and people read the text as it is, and words are looked up in it. Its own marks stay: headings, lists,
tables, emphasis, code.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from bots.knowledge.reading.pages import Heading

_FENCE: Final = re.compile(r"\s*(`{3,})\s*")
_CODE_OR_ESCAPE: Final = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)|(?<!\\)(?P<backslashes>\\++)(?P<sign>[*_`~\[\]<])")
"""In code nothing is escaped. Backslashes of the page itself were doubled before a sign, and one was added."""
_ESCAPED_BEGINNING: Final = re.compile(
    r"(?P<before>\s*(?:- |\d{1,9}\. )?)"
    r"(?:\\(?P<sign>#{1,6}(?=\s|$)|>|[-+](?=\s|$))|(?P<number>\d{1,9})\\(?P<end>[.)](?=\s|$)))"
)
"""What would begin a heading, a quotation or an item of a list, also within an item."""


def unescaped(text: str, headings: Sequence[Heading]) -> tuple[str, list[Heading]]:
    """The text without escapes, and its headings, which begin lines, where they are then."""
    moved: dict[int, int] = {}
    rows: list[str] = []
    offset, new_offset, fence = 0, 0, ""
    for row in text.split("\n"):
        moved[offset] = new_offset
        offset += len(row) + 1
        match = _FENCE.fullmatch(row)
        if fence:
            fence = "" if match and match[1] == fence else fence
        elif match:
            fence = match[1]
        else:
            row = _unescaped_row(row)  # noqa: PLW2901  the row that is kept
        rows.append(row)
        new_offset += len(row) + 1
    return "\n".join(rows), [replace(heading, offset=moved[heading.offset]) for heading in headings]


def _unescaped_row(row: str) -> str:
    if "\\" not in row:
        return row
    if match := _ESCAPED_BEGINNING.match(row):
        beginning = match["before"] + (match["sign"] or f"{match['number']}{match['end']}")
        row = beginning + row[match.end() :]
    return _CODE_OR_ESCAPE.sub(_without_escape, row)


def _without_escape(match: re.Match[str]) -> str:
    backslashes = match["backslashes"]
    if backslashes is None or len(backslashes) % 2 == 0:
        return match[0]
    return backslashes[: len(backslashes) // 2] + match["sign"]
