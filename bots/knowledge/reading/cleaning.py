"""Text without what nobody sees: NUL and other controls, lone surrogates, direction marks, zero-width characters."""

import re
from typing import Final

_NEEDS_JOINERS: Final = "[\u0600-\u109f\u1780-\u17ff\u1800-\u18af\u2600-\u27bf\ufe0f\U0001f000-\U0001faff]"
"""Where a zero-width joiner or non-joiner is spelling: in Arabic's scripts, those of India and its neighbours, and in
pictures that are made of several.
"""
_UNSEEN: Final = re.compile(
    "[\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\uffff\ud800-\udfff\U000e0000-\U000e0fff]"
    f"|(?<!{_NEEDS_JOINERS})[\u200c\u200d]|[\u200c\u200d](?!{_NEEDS_JOINERS})"
)
_LINE_ENDS: Final = re.compile("\r\n?|[\x0c\x85\u2028\u2029]")
_BLANKS_AT_END: Final = re.compile(r"[^\S\n]+(?=\n|\Z)")
_EMPTY_LINES: Final = re.compile(r"\n{3,}")
_VISIBLE: Final = re.compile(r"[^\W_]")


def clean(text: str) -> str:
    """The text with newlines alone between lines, at most one empty line in a row, no blanks at a line's end."""
    text = _LINE_ENDS.sub("\n", text)
    if not text.isascii() or not text.isprintable():
        text = _UNSEEN.sub("", text).replace("\xa0", " ")
    return _EMPTY_LINES.sub("\n\n", _BLANKS_AT_END.sub("", text)).strip("\n")


def hides(text: str) -> bool:
    """Whether there are characters that nobody sees."""
    return _UNSEEN.search(text) is not None


def line(text: str, most: int = 300) -> str:
    """The text cleaned, on one line, of at most so many characters."""
    return " ".join(clean(text[: most * 10]).split())[:most].rstrip()


def holds_text(text: str) -> bool:
    """Whether there is a letter or a digit of any script."""
    return _VISIBLE.search(text) is not None
