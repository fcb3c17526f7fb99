"""Plain text, Markdown, JSON, tables in text, and RTF."""

import csv
import re
from pathlib import Path
from typing import Final

from bots.knowledge.reading.building import MOST_HEADINGS, Builder
from bots.knowledge.reading.charsets import text_of
from bots.knowledge.reading.cleaning import clean, line
from bots.knowledge.reading.pages import Heading
from bots.knowledge.reading.requests import Request
from bots.knowledge.reading.rows import add_rows

_FENCE: Final = re.compile(r" {0,3}(```|~~~)")
_HEADING: Final = re.compile(r" {0,3}(#{1,6})[ \t]+(.*?)[ \t]*#*[ \t]*$")
_UNDERLINE: Final = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_MARKS: Final = re.compile(
    r"\\(?P<sign>[!-/:-@\[-`{-~])|[*`]{1,3}|(?<!\w)_{1,3}|_{1,3}(?!\w)|\[(?P<link>[^\]]*)\]\([^)]*\)"
)
"""Marks in a heading: escapes, emphasis (which `_` is at a word's ends alone), code, links."""
_SNIFFED_CHARACTERS: Final = 16_384
_MOST_RTF_BYTES: Final = 20 * 1024 * 1024


def read_text(request: Request, builder: Builder) -> None:
    """Text as it is."""
    builder.begin()
    builder.add(_content(request, builder))


def read_markdown(request: Request, builder: Builder) -> None:
    """Markdown as it is written, with its headings."""
    text = clean(_content(request, builder))
    headings = markdown_headings(text)
    builder.title = next((heading.text for heading in headings if heading.level == 1), "")
    builder.begin()
    builder.add_marked(text, headings)


def read_rows(request: Request, builder: Builder) -> None:
    """CSV and TSV, a line per row."""
    text = _content(request, builder)
    csv.field_size_limit(request.most_characters)
    builder.begin()
    add_rows(builder, csv.reader(text.splitlines(keepends=True), delimiter=_delimiter(text, request.kind)))


def read_rtf(request: Request, builder: Builder) -> None:
    """RTF, whose pictures are left out."""
    from striprtf.striprtf import rtf_to_text  # noqa: PLC0415 - where it is used

    with Path(request.path).open("rb") as file:
        body = file.read(_MOST_RTF_BYTES)
        if file.read(1):
            builder.note_cut()
    builder.begin()
    builder.add(rtf_to_text(body.decode("cp1252", "replace"), errors="ignore"))  # type: ignore[no-untyped-call]


def _content(request: Request, builder: Builder) -> str:
    text, is_cut = text_of(Path(request.path), charset=request.charset, most_characters=request.most_characters)
    if is_cut and len(text) <= request.most_characters:
        builder.note_cut()
    return text


def _delimiter(text: str, kind: str) -> str:
    """What parts the cells: a tab in TSV, else what the first lines have most evenly."""
    if kind == "tsv":
        return "\t"
    lines = [row for row in text[:_SNIFFED_CHARACTERS].splitlines()[:20] if row.strip()]

    def evenness(delimiter: str) -> tuple[int, int]:
        counts = [row.count(delimiter) for row in lines]
        return (min(counts, default=0), sum(counts))

    return max(",;\t|", key=evenness)


def markdown_headings(text: str) -> list[Heading]:
    """The headings of clean Markdown: lines of `#`, and underlined ones, outside of fenced code."""
    headings: list[Heading] = []
    offset, previous, fence = 0, "", ""
    for row in text.split("\n"):
        if len(headings) >= MOST_HEADINGS:
            break
        if fence:
            fence = "" if row.strip().startswith(fence) else fence
            previous = ""
        elif match := _FENCE.match(row):
            fence, previous = match[1], ""
        elif match := _HEADING.match(row):
            _add(headings, offset, len(match[1]), match[2])
            previous = ""
        elif previous and (match := _UNDERLINE.match(row)):
            _add(headings, offset - len(previous) - 1, 1 if match[1][0] == "=" else 2, previous)
            previous = ""
        else:
            previous = row if _may_be_underlined(row) else ""
        offset += len(row) + 1
    return headings


def _add(headings: list[Heading], offset: int, level: int, text: str) -> None:
    if text := line(_MARKS.sub(lambda match: match["sign"] or match["link"] or "", text)):
        headings.append(Heading(offset, level, text))


def _may_be_underlined(row: str) -> bool:
    """A short line that is no list, table or quotation."""
    return 0 < len(row.strip()) <= 200 and row.lstrip()[0] not in "|->*+#"
