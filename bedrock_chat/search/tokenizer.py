"""Text as the tokens that are indexed and searched, with the places where they stand. Pure.

A word is a run of letters, digits and their marks, folded: NFKC, without case and accents. Scripts that put no blanks
between words (Han, kana, Hangul, Thai, …) are cut into overlapping pairs instead, one token for each character: the
character and the next one, or the last character alone. So one token finds two characters, tokens that follow one
another find three or more, and any token that begins with a character finds that single character.

A symbol (Unicode's category S: currency, mathematics, emoji, …) is a token of its own. Punctuation is none.

PostgreSQL and SQLite would cut text differently, and both leave a Japanese sentence in one piece. So both are given
these tokens.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Final, NamedTuple

LONGEST_TOKEN: Final = 64
"""Characters of a token. A longer run is no word; its beginning finds it."""
LONGEST_UNIT: Final = LONGEST_TOKEN // 2
"""Characters of one half of a pair."""
MOST_FOLDED: Final = 1_024
"""Characters of a run that are folded."""


class Token(NamedTuple):
    """`text` is folded; `start` and `end` are offsets into the original.

    `first` is the folded character that a pair begins with, or the one that stands alone at a run's end; "" for a word.
    `first_end` is where that character ends in the original.
    """

    text: str
    start: int
    end: int
    first: str = ""
    first_end: int = 0


def tokens(text: str) -> Iterator[Token]:
    """The tokens of a text in its order. No token holds a blank, or of ASCII anything but letters and digits."""
    if text.isascii():
        for match in _ASCII_TOKEN.finditer(text):
            start, end = match.span()
            yield Token(_WIDE.get(match[0]) or match[0][:LONGEST_TOKEN].lower(), start, end)
        return
    for match in _RUN.finditer(text.translate(_CLASSES)):
        start, end = match.span()
        if match[0][0] == _SYMBOL:
            yield Token(_symbol(text[start]), start, end)
        elif match[0][0] != _WORD:
            yield from _pairs(text, match[0], start)
        elif folded := _folded(text[start : min(end, start + MOST_FOLDED)])[:LONGEST_TOKEN]:
            yield Token(folded, start, end)


def is_word(token: str) -> bool:
    """Whether a token is a word: no symbol, and of a script with blanks. No word begins with a mark (ำ)."""
    return _CLASSES[ord(token[0])] == _WORD


def is_symbol(token: str) -> bool:
    return _CLASSES[ord(token[0])] == _SYMBOL


def _pairs(text: str, classes: str, start: int) -> Iterator[Token]:
    """The tokens of a run without blanks that begins at `start`; `classes` are those of its characters.

    Where nothing in the run needs folding, its characters are taken as they are, which is faster.
    """
    last = start + len(classes) - 1
    if _ATTACHED.isdisjoint(classes) and unicodedata.is_normalized("NFKC", text[start : last + 1]):
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
    """Folded characters of a run with marks, start and end. One may be written as several (ｶﾞ) or fold to several."""
    for match in _CHARACTER.finditer(classes):
        begin, end = start + match.start(), start + match.end()
        folded = _folded(text[begin : min(end, begin + MOST_FOLDED)])  # a character may drag a megabyte of marks
        first = 0
        for index in range(1, len(folded) + 1):
            if index == len(folded) or _CLASSES[ord(folded[index])] not in _ATTACHED:
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
# Letters with a stroke and ligatures, which Unicode does not decompose.
_STROKES: Final = str.maketrans(
    {"ø": "o", "đ": "d", "ð": "d", "ł": "l", "ħ": "h", "ŧ": "t", "ı": "i", "æ": "ae", "œ": "oe"}
)


@lru_cache(maxsize=32_768)
def _folded(word: str) -> str:
    """The word after NFKC and casefold, without accents. Only letters, digits and marks are left."""
    if word.isascii():
        return word.lower()
    word = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", word).casefold())
    word = unicodedata.normalize("NFD", word).translate(_ACCENTS).translate(_STROKES)
    word = unicodedata.normalize("NFC", word)
    # NFKC turns a few letters into whole phrases, or into fractions (1⁄2).
    if _BETWEEN_WORDS.isdisjoint(word.translate(_CLASSES)):
        return word
    return "".join(character for character in word if _CLASSES[ord(character)] not in _BETWEEN_WORDS)


# SQLite's index takes ASCII's symbols for blanks, and both databases' queries for operators. Their wide forms are none.
_WIDE: Final = {symbol: chr(ord(symbol) + 0xFEE0) for symbol in "$+<=>^`|~"}


def _symbol(character: str) -> str:
    """The token of a symbol: its plain form, if that is one symbol (⁺ is +), and the wide one of ASCII's."""
    plain = unicodedata.normalize("NFKC", character)
    if len(plain) != 1 or unicodedata.category(plain)[0] != "S":
        plain = character
    return _WIDE.get(plain, plain)


# ---- Classes of characters ------------------------------------------------------------------------------------------

_WORD, _SPACELESS, _RADICAL, _SYMBOL, _MARK, _JOINED, _GAP = "w", "c", "r", "s", "m", "j", " "
_ATTACHED: Final = frozenset({_MARK, _JOINED})
_BETWEEN_WORDS: Final = frozenset({_SYMBOL, _GAP})
_ASCII_TOKEN: Final = re.compile(r"[0-9A-Za-z]+|[$+<=>^`|~]")
_RUN: Final = re.compile(
    f"{_WORD}[{_WORD}{_JOINED}{_MARK}]*"
    f"|[{_SPACELESS}{_RADICAL}{_JOINED}][{_SPACELESS}{_RADICAL}{_JOINED}{_MARK}]*"
    f"|{_SYMBOL}"
)
# A joined letter that follows no character stands by itself. A radical is a symbol, which takes no marks.
_CHARACTER: Final = re.compile(f"[{_SPACELESS}{_JOINED}][{_JOINED}{_MARK}]*|{_RADICAL}")

_RADICALS: Final = (0x2E80, 0x2FDF)
"""Parts of Han characters. Unicode calls them symbols; but texts from PDFs have them for the characters."""

_SPACELESS_SCRIPTS = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1100, 0x11FF),  # Hangul
    (0x1780, 0x17FF),  # Khmer
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
# Letters that belong to the character before them: Hangul vowels and finals.
_JOINED_LETTERS = (
    (0x1160, 0x11FF),
    (0xD7B0, 0xD7FF),
)
# What is a mark although Unicode calls it otherwise: the soft hyphen, joiners, half-width voicing marks.
_MARKS = (
    (0x00AD, 0x00AD),
    (0x200C, 0x200D),
    (0x2060, 0x2060),
    (0xFF9E, 0xFF9F),
)


def _within(code: int, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(first <= code <= last for first, last in ranges)


def _class_of(code: int) -> str:
    character = chr(code)
    category = unicodedata.category(character)[0]
    if _within(code, _MARKS) or category == "M":
        return _MARK
    if category == "S":
        return _RADICAL if _within(code, (_RADICALS,)) else _SYMBOL
    if not character.isalnum():
        return _GAP
    if _within(code, _JOINED_LETTERS):
        return _JOINED
    return _SPACELESS if _within(code, _SPACELESS_SCRIPTS) else _WORD


class _Classes(dict[int, str]):
    """Code point → class, for `str.translate`. Each is computed when first met, and kept, except for rare planes."""

    def __missing__(self, code: int) -> str:
        character_class = _class_of(code)
        if code < 0x10000:
            self[code] = character_class
        return character_class


_CLASSES: Final = _Classes()
