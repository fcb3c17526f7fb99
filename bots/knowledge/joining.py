"""Makes passages of the chunks that a search found. Pure.

What stands side by side in a document is one passage, and what several documents say in the same words is one too.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from bedrock_chat.bedrock.text_tokens import text_tokens

PARAGRAPH: Final = "\n"
"""Between neighbours that do not touch: what stood there was blank."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A chunk that answers, or several neighbours, with the scores of the best.

    `chunks` are keys in the order of the text. `first` and `last` are positions in the edition, `start` and `end`
    offsets in the text of its page. A parent stands for itself: it is joined with nothing.
    """

    chunks: tuple[int, ...]
    document: int
    edition: int
    first: int
    last: int
    page: int | None
    text: str
    start: int
    end: int
    is_parent: bool
    score: float
    similarity: float | None
    words: float


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a document that is not cut for answers. `start` and `end` are offsets in the text of its page."""

    position: int
    page: int | None
    text: str
    start: int
    end: int


def stretch(windows: Iterable[Window], most_characters: int) -> tuple[str, int]:
    """The text of windows that follow one another, whole ones as long as all fit and the first in any case, and the
    position of the last one; -1 for none.
    """
    text, before = "", None
    for window in windows:
        goes_on = before is not None and before.page == window.page and before.end <= window.start
        between = "" if before is None else PARAGRAPH * ((window.start > before.end) if goes_on else 2)
        if before is not None and len(text) + len(between) + len(window.text) > most_characters:
            break
        text, before = f"{text}{between}{window.text}", window
    return text, -1 if before is None else before.position


def distinct(pieces: Sequence[Piece]) -> list[Piece]:
    """The pieces without those that say what an earlier one says."""
    by_text: dict[str, Piece] = {}
    for piece in pieces:
        by_text.setdefault(piece.text.strip(), piece)
    return list(by_text.values())


def joined(pieces: Sequence[Piece], most_characters: int) -> list[Piece]:
    """The pieces, of which neighbours on one page of a document have become one, each in the place of its best.

    No piece grows beyond `most_characters` by that.
    """
    runs: list[Piece] = []
    in_order = sorted(enumerate(pieces), key=lambda numbered: (numbered[1].edition, numbered[1].first))
    places: list[int] = []
    for place, piece in in_order:
        if runs and _are_neighbours(runs[-1], piece) and len(runs[-1].text) + len(piece.text) < most_characters:
            is_better = place < places[-1]
            runs[-1] = _pair(runs[-1], piece, piece if is_better else runs[-1])
            places[-1] = min(places[-1], place)
        else:
            runs.append(piece)
            places.append(place)
    return [run for _, run in sorted(zip(places, runs, strict=True), key=lambda numbered: numbered[0])]


def fitting(pieces: Sequence[Piece], most_characters: int, most_tokens: int | None) -> Iterator[Piece]:
    """The pieces in their order, whole, as long as all fit. If not even the first fits, its beginning does."""
    for number, piece in enumerate(pieces):
        tokens = text_tokens(piece.text)
        is_too_much = len(piece.text) > most_characters or (most_tokens is not None and tokens > most_tokens)
        if is_too_much and number:
            return
        if is_too_much:
            share = min(1.0, most_tokens / tokens) if most_tokens is not None and tokens else 1.0
            yield replace(piece, text=piece.text[: min(most_characters, int(len(piece.text) * share))])
            return
        yield piece
        most_characters -= len(piece.text)
        most_tokens = None if most_tokens is None else most_tokens - tokens


def _are_neighbours(one: Piece, following: Piece) -> bool:
    return (
        one.edition == following.edition
        and one.page == following.page
        and one.last + 1 == following.first
        and one.start <= following.start
        and not (one.is_parent or following.is_parent)
    )


def _pair(one: Piece, following: Piece, better: Piece) -> Piece:
    """Two neighbours as one. What both say where they overlap stands there once."""
    overlap = one.end - following.start
    text = following.text[overlap:] if overlap > 0 else following.text
    between = PARAGRAPH if overlap < 0 else ""
    return Piece(
        (*one.chunks, *following.chunks),
        one.document,
        one.edition,
        one.first,
        following.last,
        one.page,
        f"{one.text}{between}{text}",
        one.start,
        max(one.end, following.end),
        is_parent=False,
        score=better.score,
        similarity=better.similarity,
        words=better.words,
    )
