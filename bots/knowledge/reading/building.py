"""Puts a reading together, block by block, within its bounds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bots.knowledge.reading.cleaning import clean, holds_text, line
from bots.knowledge.reading.pages import Heading, Page, Reading, Unreadable

MOST_HEADINGS = 20_000


class Full(Exception):
    """The document has more than may be read. What was read is kept."""


@dataclass
class Builder:
    """A reading in the making. A limit raises Full, and leaves what was read until then."""

    most_characters: int
    most_pages: int
    title: str = ""
    notes: list[str] = field(default_factory=list)
    missing: str = "this file holds no text."
    """What is said if there is no text at all."""
    empty_pages: list[int] = field(default_factory=list)
    links: tuple[str, ...] = ()
    canonical: str = ""
    is_indexed: bool = True
    is_followed: bool = True
    _pages: list[Page] = field(default_factory=list)
    _blocks: list[str] = field(default_factory=list)
    _headings: list[Heading] = field(default_factory=list)
    _number: int | None = None
    _name: str = ""
    _offset: int = 0
    _characters: int = 0
    _heading_count: int = 0

    # ---- Pages ------------------------------------------------------------------------------------------------------

    def begin(self, number: int | None = None, name: str = "") -> None:
        """Ends the page before and begins another."""
        self._end_page()
        if len(self._pages) >= self.most_pages:
            self.notes.append(f"only the first {self.most_pages:,} pages were read")
            raise Full
        self._number, self._name = number, line(name, 100)

    def _end_page(self) -> None:
        text = "".join(self._blocks)
        if holds_text(text):
            self._pages.append(Page(self._number, text, tuple(self._headings), self._name))
        self._blocks, self._headings, self._offset = [], [], 0

    # ---- Text -------------------------------------------------------------------------------------------------------

    def add(self, text: str, *, separator: str = "\n\n") -> None:
        """A block of text, which `separator` parts from the one before."""
        self._append(clean(text), separator)

    def add_heading(self, text: str, level: int) -> None:
        """A heading as a block of its own."""
        text = line(text)
        if not text:
            return
        if self._heading_count < MOST_HEADINGS:
            self._heading_count += 1
            offset = self._offset + (2 if self._blocks else 0)
            self._headings.append(Heading(offset, level, text))
        self._append(text, "\n\n")

    def add_marked(self, text: str, headings: Sequence[Heading]) -> None:
        """The whole text of a page that is clean already, with headings whose offsets are within it."""
        self._headings += headings[:MOST_HEADINGS]
        self._append(text, "")

    def _append(self, text: str, separator: str) -> None:
        if not text:
            return
        block = separator + text if self._blocks else text
        room = self.most_characters - self._characters
        is_full = len(block) > room
        block = block[:room]
        self._blocks.append(block)
        self._offset += len(block)
        self._characters += len(block)
        if is_full:
            self._headings = [heading for heading in self._headings if heading.offset < self._offset]
            self.note_cut()
            raise Full

    def note_cut(self) -> None:
        """Says that only the beginning of the text was read."""
        note = f"only the first {self.most_characters:,} characters were read"
        if note not in self.notes:
            self.notes.append(note)

    @property
    def has_text(self) -> bool:
        """Whether the page that was begun has any text."""
        return bool(self._blocks)

    # ---- The end ----------------------------------------------------------------------------------------------------

    def reading(self) -> Reading:
        """What was read. Raises Unreadable if that is no text."""
        self._end_page()
        if self.empty_pages and self._pages:
            self.notes.insert(0, without_text(self.empty_pages))
        reading = Reading(
            pages=tuple(self._pages),
            title=line(self.title),
            note="; ".join(self.notes) + "." if self.notes else "",
            empty_pages=tuple(self.empty_pages),
            links=self.links,
            canonical=self.canonical,
            is_indexed=self.is_indexed,
            is_followed=self.is_followed,
        )
        if not reading.pages:
            raise Unreadable(self.missing, reading)
        return reading


def without_text(numbers: Iterable[int]) -> str:
    """A sentence without its full stop: `pages 3–14 hold no text`. The numbers ascend."""
    pages = list(numbers)
    if len(pages) == 1:
        return f"page {pages[0]} holds no text"
    ranges: list[list[int]] = []
    for number in pages:
        if ranges and number == ranges[-1][-1] + 1:
            ranges[-1] = [ranges[-1][0], number]
        else:
            ranges.append([number])
    if len(ranges) > 6:
        return f"{len(pages):,} pages hold no text, the first of them {pages[0]}"
    names = ["–".join(map(str, span)) for span in ranges]
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return f"pages {listed} hold no text"
