"""Text as the tokens that are indexed and searched, with the places where they stand. Pure.

A word is a run of letters, digits and their marks, folded: NFKC, case and accents off. Scripts that put no blanks
between words (Han, kana, Hangul, Thai, …) are cut into overlapping pairs instead, one token for each character: itself
and the next one, the last character alone. So two characters are found by one token, three or more by tokens that
follow one another, and a single character by whatever token begins with it.

Databases would each cut differently, and both leave a Japanese sentence in one piece. They are given these tokens.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Final, NamedTuple

LONGEST_TOKEN: Final = 64
LONGEST_UNIT: Final = LONGEST_TOKEN // 2
MOST_FOLDED: Final = 1_024
"""Characters: of a token, of a half of a pair, of text. What is longer is no word; its beginning finds it."""


class Token(NamedTuple):
    """`text` is folded; `start` and `end` are offsets into the original.

    `first` is the character that a pair begins with, or the whole of what stands alone at a run's end; "" for a word.
    """

    text: str
    start: int
    end: int
    first: str = ""
    first_end: int = 0


def tokens(text: str) -> Iterator[Token]:
    """The tokens of a text in its order. None holds a blank or ASCII punctuation."""
    if text.isascii():
        for match in _ASCII_WORD.finditer(text):
            start, end = match.span()
            yield Token(match[0][:LONGEST_TOKEN].lower(), start, end)
        return
    for match in _RUN.finditer(text.translate(_CLASSES)):
        start, end = match.span()
        if match[0][0] == _SPACELESS:
            yield from _pairs(text, match[0], start)
        elif folded := _folded(text[start : min(end, start + MOST_FOLDED)])[:LONGEST_TOKEN]:
            yield Token(folded, start, end)


def is_spaceless(token: str) -> bool:
    """Whether a token's text comes of a script without blanks between words; only there may a mark come first (ำ)."""
    return _CLASSES[ord(token[0])] != _WORD


def _pairs(text: str, classes: str, start: int) -> Iterator[Token]:
    last = start + len(classes) - 1
    if _MARK not in classes and unicodedata.is_normalized("NFKC", text[start : last + 1]):
        for index in range(start, last):
            yield Token(text[index : index + 2], index, index + 2, text[index], index + 1)
        yield Token(text[last], last, last + 1, text[last], last + 1)
        return
    units = list(_units(text, classes, start))
    for (unit, begin, middle), (following, _, end) in pairwise(units):
        yield Token(unit + following, begin, end, unit, middle)
    if units:
        unit, begin, end = units[-1]
        yield Token(unit, begin, end, unit, end)


def _units(text: str, classes: str, start: int) -> Iterator[tuple[str, int, int]]:
    """The characters of a run, folded, with their marks; one may have been written as several (ｶﾞ) or be several."""
    for match in _CHARACTER.finditer(classes):
        begin, end = start + match.start(), start + match.end()
        folded = _folded(text[begin:end])
        first = 0
        for index in range(1, len(folded) + 1):
            if index == len(folded) or _CLASSES[ord(folded[index])] != _MARK:
                if first < index:
                    yield folded[first : min(index, first + LONGEST_UNIT)], begin, end
                first = index


# ---- Folding --------------------------------------------------------------------------------------------------------

# Accents and points that readers leave out when they type. Vowel signs of Indic scripts are letters to their readers.
_LEFT_OUT = (
    (0x00AD, 0x00AD),  # soft hyphen
    (0x0300, 0x036F),
    (0x0483, 0x0487),
    (0x0591, 0x05BD),
    (0x05BF, 0x05C7),
    (0x0610, 0x061A),
    (0x0640, 0x0640),  # Arabic tatweel
    (0x064B, 0x065F),
    (0x0670, 0x0670),
    (0x1AB0, 0x1AFF),
    (0x1DC0, 0x1DFF),
    (0x200C, 0x200D),
    (0x2060, 0x2060),
    (0x20D0, 0x20FF),
    (0xFE00, 0xFE0F),  # variation selectors
    (0xFE20, 0xFE2F),
    (0xE0100, 0xE01EF),
)
_ACCENTS: Final = {code: None for first, last in _LEFT_OUT for code in range(first, last + 1)}
# Letters with a stroke, which Unicode does not take apart.
_STROKES: Final = str.maketrans(
    {"ø": "o", "đ": "d", "ð": "d", "ł": "l", "ħ": "h", "ŧ": "t", "ı": "i", "æ": "ae", "œ": "oe"}
)


@lru_cache(maxsize=32_768)
def _folded(word: str) -> str:
    """NFKC, casefold, accents off; nothing is left but letters, digits and marks."""
    if word.isascii():
        return word.lower()
    word = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", word).casefold())
    word = unicodedata.normalize("NFD", word).translate(_ACCENTS).translate(_STROKES)
    word = unicodedata.normalize("NFC", word)
    # A few letters are whole phrases, or fractions, to NFKC.
    return word if " " not in word.translate(_CLASSES) else "".join(c for c in word if _CLASSES[ord(c)] != " ")


# ---- Classes of characters ------------------------------------------------------------------------------------------

_WORD, _SPACELESS, _MARK, _GAP = "w", "c", "m", " "
_ASCII_WORD: Final = re.compile(r"[0-9A-Za-z]+")
_RUN: Final = re.compile(f"{_WORD}[{_WORD}{_MARK}]*|{_SPACELESS}[{_SPACELESS}{_MARK}]*")
_CHARACTER: Final = re.compile(f"{_SPACELESS}{_MARK}*")

_SPACELESS_SCRIPTS = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1100, 0x11FF),  # Hangul
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0x2FDF),  # Han radicals
    (0x3005, 0x3007),
    (0x3021, 0x3035),
    (0x303B, 0x303B),
    (0x3041, 0x318F),  # kana, Bopomofo, Hangul
    (0x31A0, 0x31BF),
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0x9FFF),
    (0xA960, 0xA97F),
    (0xAC00, 0xD7FF),  # Hangul
    (0xF900, 0xFAFF),
    (0xFF66, 0xFFDC),  # half-width kana and Hangul
    (0x1AFF0, 0x1B16F),
    (0x20000, 0x3FFFD),  # Han
)
# Written behind a character and one with it: Hangul vowels and finals, half-width voicing, invisible joiners.
_JOINED = (
    (0x00AD, 0x00AD),
    (0x1160, 0x11FF),
    (0x200C, 0x200D),
    (0x2060, 0x2060),
    (0xD7B0, 0xD7FF),
    (0xFF9E, 0xFF9F),
)


def _within(code: int, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(first <= code <= last for first, last in ranges)


def _class_of(code: int) -> str:
    character = chr(code)
    if _within(code, _JOINED) or unicodedata.category(character)[0] == "M":
        return _MARK
    if _within(code, _SPACELESS_SCRIPTS) and (character.isalnum() or code < 0x2FE0):
        return _SPACELESS
    return _WORD if character.isalnum() else _GAP


class _Classes(dict[int, str]):
    """Code point → class, for `str.translate`; found at first sight and remembered, the rare planes excepted."""

    def __missing__(self, code: int) -> str:
        found = _class_of(code)
        if code < 0x10000:
            self[code] = found
        return found


_CLASSES: Final = _Classes()
