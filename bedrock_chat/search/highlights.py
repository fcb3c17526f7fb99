"""The places of a text that answer a query: fragments of HTML, what was found between `<em>` and `</em>`. Pure."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import islice
from operator import attrgetter
from typing import Final

from bedrock_chat.search.query import Phrase, Term
from bedrock_chat.search.tokenizer import Token, tokens

FRAGMENT: Final = 150
LEAD: Final = 40
SLACK: Final = 20
"""Characters of a fragment, about; of what stands before the first word found; of a search for the end of a word."""
MOST_TOKENS: Final = 20_000
PLACES: Final = 4
"""Of a text that are read; places that are looked at for each fragment."""

_BLANKS: Final = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class _Span:
    start: int
    end: int
    term: int


_BY_START: Final = attrgetter("start")


def fragments(text: str, terms: Sequence[Term], *, most: int) -> list[str]:
    """Up to so many, in the text's order: those that hold the most different terms, then the most places."""
    spans = _first_places(text, terms, most * PLACES)
    windows = sorted(
        _windows(spans), key=lambda window: (-len({span.term for span in window}), -len(window), window[0].start)
    )
    return [_fragment(text, window, spans) for window in sorted(windows[:most], key=lambda window: window[0].start)]


def _first_places(text: str, terms: Sequence[Term], enough: int) -> list[_Span]:
    """So many places at least, and one of each term, if there are. What more may come is not worth reading on for."""
    found: list[_Span] = []
    missing = set(range(len(terms)))
    for span in _spans(text, terms):
        found.append(span)
        missing.discard(span.term)
        if len(found) >= enough and not missing:
            break
    return sorted(found, key=_BY_START)


def marked(text: str, terms: Sequence[Term]) -> str | None:
    """The whole text as one fragment; None where it holds nothing of the query."""
    spans = sorted(_spans(text, terms), key=_BY_START)
    return _html(text, spans, 0, len(text)) if spans else None


def _spans(text: str, terms: Sequence[Term]) -> Iterator[_Span]:
    """Where the terms stand, by their ends, and no more of the text is read than is asked for."""
    closed: dict[str, list[tuple[int, Phrase]]] = {}
    opened: dict[str, list[tuple[int, Phrase]]] = {}
    for number, term in enumerate(terms):
        for phrase in term.alternatives:
            (opened if phrase.open else closed).setdefault(phrase.tokens[-1], []).append((number, phrase))
    before: list[Token] = []
    for token in islice(tokens(text), MOST_TOKENS):
        before.append(token)
        for number, phrase in closed.get(token.text, ()):
            if (start := _start(before, phrase)) is not None:
                yield _Span(start, token.end, number)
        if token.first:
            for number, phrase in opened.get(token.first, ()):
                if (start := _start(before, phrase)) is not None:
                    yield _Span(start, token.first_end, number)


def _start(found: list[Token], phrase: Phrase) -> int | None:
    """Where the phrase begins that ends with the last of these tokens; None where it does not stand there."""
    first = len(found) - len(phrase.tokens)
    if first < 0 or any(found[first + place].text != wanted for place, wanted in enumerate(phrase.tokens[:-1])):
        return None
    return found[first].start


def _windows(spans: list[_Span]) -> Iterator[list[_Span]]:
    """Spans that go into one fragment."""
    window: list[_Span] = []
    for span in spans:
        if window and span.end - window[0].start > FRAGMENT - LEAD:
            yield window
            window = []
        window.append(span)
    if window:
        yield window


def _fragment(text: str, window: list[_Span], spans: list[_Span]) -> str:
    first, last = window[0].start, max(span.end for span in window)
    begin = max(0, first - LEAD)
    end = max(last, min(len(text), begin + FRAGMENT))
    if begin:
        blank = _BLANKS.search(text, begin, min(first, begin + SLACK))
        begin = blank.end() if blank else begin
    if end < len(text):
        blanks = list(_BLANKS.finditer(text, max(last, end - SLACK), end))
        end = blanks[-1].start() if blanks else end
    while begin < first and unicodedata.combining(text[begin]):
        begin += 1
    while end < len(text) and unicodedata.combining(text[end]):
        end += 1
    return _html(text, [span for span in spans if begin <= span.start and span.end <= end], begin, end).strip()


def _html(text: str, spans: list[_Span], begin: int, end: int) -> str:
    """Quotation marks stay: nothing of this goes into an attribute."""
    parts = []
    for start, stop in _joined(spans):
        parts += [_escaped(text[begin:start]), "<em>", _escaped(text[start:stop]), "</em>"]
        begin = stop
    return "".join([*parts, _escaped(text[begin:end])])


def _joined(spans: list[_Span]) -> list[tuple[int, int]]:
    """Spans may overlap: pairs do, and two terms may mean one word."""
    joined: list[tuple[int, int]] = []
    for span in spans:
        if joined and span.start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], span.end))
        else:
            joined.append((span.start, span.end))
    return joined


def _escaped(text: str) -> str:
    return escape(_BLANKS.sub(" ", text), quote=False)
