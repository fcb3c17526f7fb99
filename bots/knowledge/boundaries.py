"""Where sentences and words begin in a text of any language, as offsets in characters."""

import re
from collections.abc import Iterator
from typing import Final

_ENDS: Final = re.compile(
    r"[.!?…]['\"”’»)\]]*\s++(?![a-zß-öø-ÿ])"  # a small letter after it: an abbreviation
    r"|[。！？｡]['\"”’»」』）)\]]*\s*"
    r"|\n\s*"
)
_WORD: Final = re.compile(r"\s\S|[\u3041-\u30ff\u3400-\u9fff\uac00-\ud7a3]")
_SHORT_SENTENCE: Final = 25
"""Shorter ones go with the next: a number, a name, a word of a heading."""


def sentence_starts(text: str, start: int, end: int) -> Iterator[int]:
    """Where sentences after the first one begin between `start` and `end`, ascending."""
    return (match.end() for match in _ENDS.finditer(text, start, end) if match.end() < end)


def word_starts(text: str, start: int, end: int) -> Iterator[int]:
    """Where words begin between `start` and `end`, ascending; in Chinese, Japanese and Korean each character."""
    return (match.end() - 1 for match in _WORD.finditer(text, start, end))


def sentence_spans(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """The sentences between two offsets, without the blanks around them. None is blank."""
    spans: list[tuple[int, int]] = []
    begin = start
    for next_begin in (*sentence_starts(text, start, end), end):
        span = trimmed(text, begin, next_begin)
        if next_begin < end and span[1] - span[0] < _SHORT_SENTENCE:
            continue
        if span[0] < span[1]:
            spans.append(span)
        begin = next_begin
    return spans


def trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without blanks at its ends. One of blanks alone is empty."""
    part = text[start:end]
    stripped = part.strip()
    begin = start + len(part) - len(part.lstrip())
    return (begin, begin + len(stripped)) if stripped else (start, start)


def halves(text: str) -> tuple[str, str]:
    """A text that a model calls too long, as two: cut where a sentence or a word begins, near the middle.

    Put together they are the text. Raises ValueError for less than two characters.
    """
    if len(text) < 2:
        raise ValueError("A text of one character has no halves.")
    middle, quarter = len(text) // 2, len(text) // 4
    for starts in (sentence_starts, word_starts):
        places = [place for place in starts(text, quarter, len(text) - quarter) if 0 < place < len(text)]
        if places:
            middle = min(places, key=lambda place: abs(place - middle))
            break
    return text[:middle], text[middle:]
