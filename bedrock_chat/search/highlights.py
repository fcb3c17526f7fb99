"""The places of a text that match a query, as fragments of HTML with each match in `<em>` and `</em>`. Pure."""

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
"""About how many characters a fragment has."""
LEAD: Final = 40
"""Characters before the first match of a fragment."""
SLACK: Final = 20
"""Characters within which a fragment's edge is moved to a blank."""
MOST_TOKENS: Final = 20_000
"""Tokens of a text that are read."""
PLACES: Final = 4
"""Matches that are looked at for each fragment."""

_BLANKS: Final = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class _Span:
    """A match: offsets into the text, and the index of its term in the query."""

    start: int
    end: int
    term: int


_BY_START: Final = attrgetter("start")


def fragments(text: str, terms: Sequence[Term], *, most: int) -> list[str]:
    """Up to `most` fragments, in the text's order: those with the most different terms, then with the most matches."""
    spans = _first_places(text, terms, most * PLACES)
    windows = sorted(
        _windows(spans), key=lambda window: (-len({span.term for span in window}), -len(window), window[0].start)
    )
    return [_fragment(text, window, spans) for window in sorted(windows[:most], key=lambda window: window[0].start)]


def _first_places(text: str, terms: Sequence[Term], enough: int) -> list[_Span]:
    """At least `enough` matches, and one of each term, if the text has them. The rest of the text is not read."""
    spans: list[_Span] = []
    missing = set(range(len(terms)))
    for span in _spans(text, terms):
        spans.append(span)
        missing.discard(span.term)
        if len(spans) >= enough and not missing:
            break
    return sorted(spans, key=_BY_START)


def marked(text: str, terms: Sequence[Term]) -> str | None:
    """The whole text as one fragment; None where nothing in it matches the query."""
    spans = sorted(_spans(text, terms), key=_BY_START)
    return _html(text, spans, 0, len(text)) if spans else None


def _spans(text: str, terms: Sequence[Term]) -> Iterator[_Span]:
    """The matches in the order of their ends. The text is read only as far as the caller iterates."""
    closed: dict[str, list[tuple[int, Phrase]]] = {}
    opened: dict[str, list[tuple[int, Phrase]]] = {}
    for number, term in enumerate(terms):
        for phrase in term.alternatives:
            (opened if phrase.open else closed).setdefault(phrase.tokens[-1], []).append((number, phrase))
    tokens_read: list[Token] = []
    for token in islice(tokens(text), MOST_TOKENS):
        tokens_read.append(token)
        for number, phrase in closed.get(token.text, ()):
            if (start := _start(tokens_read, phrase)) is not None:
                yield _Span(start, token.end, number)
        if token.first:
            for number, phrase in opened.get(token.first, ()):
                if (start := _start(tokens_read, phrase)) is not None:
                    yield _Span(start, token.first_end, number)


def _start(tokens_read: list[Token], phrase: Phrase) -> int | None:
    """Where the phrase begins that ends with the last of the tokens read; None where it does not stand there."""
    first = len(tokens_read) - len(phrase.tokens)
    if first < 0 or any(tokens_read[first + place].text != text for place, text in enumerate(phrase.tokens[:-1])):
        return None
    return tokens_read[first].start


def _windows(spans: list[_Span]) -> Iterator[list[_Span]]:
    """Groups the spans: those of one group fit into one fragment."""
    window: list[_Span] = []
    for span in spans:
        if window and span.end - window[0].start > FRAGMENT - LEAD:
            yield window
            window = []
        window.append(span)
    if window:
        yield window


def _fragment(text: str, window: list[_Span], spans: list[_Span]) -> str:
    """The HTML around the spans of a window.

    1. It begins LEAD characters before the first span, and is FRAGMENT characters long, or longer if the spans are.
    2. Both edges move to a blank within SLACK, so that words stay whole.
    3. Both edges move past combining marks, so that characters stay whole.
    4. Every span that lies within the edges is marked.
    """
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
    """A part of the text, escaped, with its spans marked. Quotation marks stay: it never goes into an attribute."""
    parts = []
    for start, stop in _joined(spans):
        parts += [_escaped(text[begin:start]), "<em>", _escaped(text[start:stop]), "</em>"]
        begin = stop
    return "".join([*parts, _escaped(text[begin:end])])


def _joined(spans: list[_Span]) -> list[tuple[int, int]]:
    """Start and end of the spans, overlapping ones joined: pairs overlap, and two terms may match one word."""
    joined: list[tuple[int, int]] = []
    for span in spans:
        if joined and span.start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], span.end))
        else:
            joined.append((span.start, span.end))
    return joined


def _escaped(text: str) -> str:
    return escape(_BLANKS.sub(" ", text), quote=False)
