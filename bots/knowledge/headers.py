"""What is embedded and indexed above a chunk's text: the title, and the path of headings that lead to it."""

from bisect import bisect_left
from collections.abc import Iterable
from typing import Final

from bots.knowledge.reading.pages import Page

MOST_CHARACTERS: Final = 300
_MOST_IN_NAME: Final = 100
_SEPARATOR: Final = " › "


class Headers:
    """The headers of a page's chunks, none longer than `most_characters`."""

    def __init__(self, page: Page, title: str, most_characters: int) -> None:
        self._most = min(MOST_CHARACTERS, most_characters)
        self._names = [name for name in (title, page.name) if name.strip()]
        headings = sorted(page.headings, key=lambda heading: heading.offset)
        self._offsets = [heading.offset for heading in headings]
        self._paths: list[tuple[str, ...]] = [()]
        levels: list[tuple[int, str]] = []
        for heading in headings:
            levels = [*(above for above in levels if above[0] < heading.level), (heading.level, heading.text)]
            self._paths.append(tuple(text for _, text in levels))

    def at(self, offset: int) -> str:
        """The header of a chunk that begins there. A heading that the chunk itself begins with is none of it."""
        return self._joined(self._paths[bisect_left(self._offsets, offset)])

    def within(self, start: int, end: int) -> set[str]:
        """All headers that chunks between two offsets may have."""
        first, last = bisect_left(self._offsets, start), bisect_left(self._offsets, end)
        return {self._joined(path) for path in self._paths[first : last + 1]}

    def _joined(self, path: Iterable[str]) -> str:
        names: list[str] = []
        for name in (*self._names, *path):
            shown = " ".join(name.split())[:_MOST_IN_NAME]
            if shown and (not names or shown != names[-1]):
                names.append(shown)
        while len(names) > 2 and len(_SEPARATOR.join(names)) > self._most:
            del names[1]  # the title and the nearest headings say most
        return _SEPARATOR.join(names)[: self._most].rstrip()
