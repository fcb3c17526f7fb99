"""Cutting a document into chunks, purely: the same text, title and settings give the same chunks.

Each page, and each part under a heading of the first two levels, is cut by itself, so that an edit renews the chunks
beside it and no others.
"""

import hashlib
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, replace
from typing import Final, Literal

from bedrock_chat.bedrock.text_tokens import ASCII_PER_TOKEN, OTHERS_PER_TOKEN, text_tokens
from bots.knowledge.boundaries import halves, sentence_spans, sentence_starts, trimmed, word_starts
from bots.knowledge.headers import Headers
from bots.knowledge.reading.pages import Page, Reading

__all__ = ["Chunk", "Cut", "Distances", "Strategy", "cut", "halves", "sentences"]

SECTION_LEVELS: Final = 2
SECTION_CHARACTERS: Final = 300
"""A part under a heading of the first two levels is cut by itself if it has more."""

Strategy = Literal["default", "fixed_size", "hierarchical", "semantic", "none"]
Distances = Callable[[list[str]], list[float]]
"""From n texts to the n - 1 distances between neighbours."""
BLOCK_CHARACTERS: Final = 20_000
BLOCK_CHUNKS: Final = 8
MOST_BLOCK_CHUNKS: Final = 17
"""The splitter is given that many characters, or chunks, at a time; of chunks smaller than those of English by default
no more of them than these characters hold there.
"""


@dataclass(frozen=True, slots=True)
class Cut:
    """How a document is cut. Sizes are in tokens as `bedrock.text_tokens` estimates them.

    `most_tokens` and `most_characters` are the embeddings model's limits, which hold for header and text together.
    `overlap_percentage` is of fixed_size alone, `max_parent_tokens` and `overlap_tokens` of hierarchical, whose
    children have `max_tokens`, `buffer_size` and `breakpoint_percentile` of semantic.
    """

    strategy: Strategy = "default"
    max_tokens: int = 300
    overlap_percentage: int = 0
    max_parent_tokens: int = 1500
    overlap_tokens: int = 0
    buffer_size: int = 0
    breakpoint_percentile: int = 95
    most_tokens: int = 8192
    most_characters: int = 50_000

    @property
    def digest(self) -> str:
        """Changes with every setting, in 64 hexadecimal digits."""
        return hashlib.sha256(repr(astuple(self)).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage. `start` and `end` are its offsets within its page's text, in characters.

    `header` is the title with the path of headings, which is embedded and indexed with the text, and not shown.
    `digest` is of both. `parent` is the position of the chunk that answers in its place; a parent is not embedded.
    """

    position: int
    page: int | None
    header: str
    text: str
    digest: str
    parent: int | None
    start: int
    end: int
    is_parent: bool = False

    @property
    def embedded(self) -> str:
        """What the embeddings model and the index of words read."""
        return f"{self.header}\n\n{self.text}" if self.header else self.text


# ---- Cutting --------------------------------------------------------------------------------------------------------

MOST_PARENT_CHARACTERS: Final = 200_000
"""More than a parent of the most tokens, 8,192, can have."""


@dataclass(frozen=True, slots=True)
class _Part:
    """What is cut by itself: a span of a page, and how much of it a chunk may have beside its header."""

    page: Page
    headers: Headers
    start: int
    end: int
    most_tokens: int
    most_characters: int


def least_chunks(reading: Reading, settings: Cut) -> int:
    """How many chunks a document has at least, by its tokens, without cutting it. Parents are not counted."""
    tokens = sum(text_tokens(page.text) for page in reading.pages)
    size = settings.max_tokens
    if settings.strategy == "none":
        size = settings.most_tokens
    elif settings.strategy == "fixed_size":
        size -= size * settings.overlap_percentage // 100
    elif settings.strategy == "hierarchical":
        size -= settings.overlap_tokens
    return tokens // max(1, size)


def cut(reading: Reading, settings: Cut, *, title: str, distances: Distances | None = None) -> list[Chunk]:
    """The chunks of a document, in order, whose positions count from 0. Not one of them is blank.

    `distances` is for semantic alone, and is called once with what `sentences` returns, unless that is no text.
    """
    parts = list(_parts(reading, settings, title))
    if settings.strategy == "hierarchical":
        return _hierarchical(parts, settings)
    if settings.strategy == "semantic":
        if distances is None:
            raise ValueError("Semantic cutting needs the distances between sentences.")
        groups = _groups(parts, settings, distances)
    else:
        groups = [(part, part.start, part.end) for part in parts]
    overlap = settings.max_tokens * settings.overlap_percentage // 100 if settings.strategy == "fixed_size" else 0
    chunks: list[Chunk] = []
    for part, start, end in groups:
        most_tokens = part.most_tokens if settings.strategy == "none" else min(settings.max_tokens, part.most_tokens)
        for span in _overlapping(part, start, end, most_tokens, overlap):
            chunks.append(_chunk(part, span, position=len(chunks)))
    return chunks


def _parts(reading: Reading, settings: Cut, title: str) -> Iterator[_Part]:
    """Pages, and with any strategy but `none` what stands in them under headings of the first two levels."""
    for page in reading.pages:
        headers = Headers(page, title, settings.most_characters // 8)
        for start, end in [(0, len(page.text))] if settings.strategy == "none" else _sections(page):
            if not page.text[start:end].strip():
                continue
            above = headers.within(start, end)
            yield _Part(
                page,
                headers,
                start,
                end,
                max(1, settings.most_tokens - max(map(text_tokens, above)) - 1),  # and one for the empty line
                max(1, settings.most_characters - max(map(len, above)) - 2),
            )


def _sections(page: Page) -> Iterator[tuple[int, int]]:
    """The page's spans between headings. A short one goes with the next, the last one with the one before."""
    starts = sorted({heading.offset for heading in page.headings if heading.level <= SECTION_LEVELS})
    length = len(page.text)
    start = 0
    for boundary in starts:
        if boundary - start > SECTION_CHARACTERS and length - boundary > SECTION_CHARACTERS:
            yield start, boundary
            start = boundary
    yield start, length


def _hierarchical(parts: list[_Part], settings: Cut) -> list[Chunk]:
    """Each parent, followed by its children."""
    chunks: list[Chunk] = []
    for part in parts:
        for start, end in _spans(
            part.page.text, part.start, part.end, settings.max_parent_tokens, MOST_PARENT_CHARACTERS
        ):
            parent = _chunk(part, (start, end), position=len(chunks), is_parent=True)
            chunks.append(parent)
            most_tokens = min(settings.max_tokens, part.most_tokens)
            for span in _overlapping(part, start, end, most_tokens, settings.overlap_tokens):
                chunks.append(_chunk(part, span, position=len(chunks), parent=parent.position))
    return chunks


def _chunk(
    part: _Part, span: tuple[int, int], *, position: int, parent: int | None = None, is_parent: bool = False
) -> Chunk:
    start, end = span
    chunk = Chunk(
        position=position,
        page=part.page.number,
        header=part.headers.at(start),
        text=part.page.text[start:end],
        digest="",
        parent=parent,
        start=start,
        end=end,
        is_parent=is_parent,
    )
    return replace(chunk, digest=hashlib.sha256(chunk.embedded.encode()).hexdigest())


# ---- Sizes ----------------------------------------------------------------------------------------------------------


def _spans(text: str, start: int, end: int, most_tokens: int, most_characters: int) -> list[tuple[int, int]]:
    """The text between two offsets as spans of whole sentences, as far as they fit. Only blanks are left out."""
    start, end = trimmed(text, start, end)
    if start == end:
        return []
    part = text[start:end]
    tokens = text_tokens(part)
    if tokens <= most_tokens and len(part) <= most_characters:
        return [(start, end)]
    # A measure in tokens would call Python for every candidate. The part's own characters per token are near enough;
    # what is denser than the part as a whole is cut once more.
    capacity = max(1, min(most_tokens * len(part) // tokens, most_characters, len(part) - 1))
    from semantic_text_splitter import TextSplitter  # noqa: PLC0415  Rust; a server that cuts nothing starts without it

    splitter = TextSplitter(capacity)
    spans: list[tuple[int, int]] = []
    most = min(max(BLOCK_CHARACTERS, BLOCK_CHUNKS * capacity), MOST_BLOCK_CHUNKS * capacity)
    for begin, block_end in _blocks(text, start, end, most):
        for offset, piece in splitter.chunk_indices(text[begin:block_end]):
            spans += _spans(text, begin + offset, begin + offset + len(piece), most_tokens, most_characters)
    return spans


def _blocks(text: str, start: int, end: int, most: int) -> Iterator[tuple[int, int]]:
    """The text between two offsets in blocks of at most so many characters, for the splitter.

    Its time grows with the square of a text without blanks: two million such characters took it half a minute.
    """
    while end - start > most:
        latest = start + most
        earliest = latest - most // BLOCK_CHUNKS
        boundary = text.rfind("\n\n", earliest, latest)
        if boundary < 0:
            places = [*sentence_starts(text, earliest, latest)] or [*word_starts(text, earliest, latest)]
            boundary = max(places, default=latest)
        yield start, boundary
        start = boundary
    yield start, end


def _overlapping(part: _Part, start: int, end: int, most_tokens: int, overlap: int) -> list[tuple[int, int]]:
    """The spans of a part, each but the first with up to `overlap` tokens of what stands before it."""
    text = part.page.text
    overlap = min(overlap, most_tokens - 1)
    if overlap <= 0:
        return _spans(text, start, end, most_tokens, part.most_characters)
    before = part.most_characters * overlap // most_tokens
    spans = _spans(text, start, end, most_tokens - overlap, max(1, part.most_characters - before))
    begins = [start for start, _ in spans]
    for place in range(1, len(spans)):
        begins[place] = _begin(text, begins[place - 1] + 1, begins[place], overlap, before)
    return [(begin, end) for begin, (_, end) in zip(begins, spans, strict=True)]


def _begin(text: str, least: int, start: int, most_tokens: int, most_characters: int) -> int:
    """Where a span that begins at `start` begins with its overlap: at a sentence if one begins there, or a word.

    Not before `least`, so that no span contains the one before.
    """
    earliest = max(least, start - min(most_characters, most_tokens * ASCII_PER_TOKEN))
    while (excess := text_tokens(text[earliest:start]) - most_tokens) > 0:
        earliest += max(1, int(excess * OTHERS_PER_TOKEN))
    if not text[earliest:start].strip():
        return start
    for starts in (sentence_starts, word_starts):
        # Looked for from one character earlier, so that what begins at `earliest` itself is seen.
        for place in starts(text, earliest - 1, start):
            if place >= earliest:
                return place
    return earliest


# ---- Semantic -------------------------------------------------------------------------------------------------------


def sentences(reading: Reading, settings: Cut, *, title: str = "") -> list[str]:
    """What semantic cutting embeds: each sentence, with as many neighbours on both sides as the buffer has.

    In the order of the document, and the same for every title.
    """
    return [text for part in _parts(reading, settings, title) for text in _buffered(part, settings)[1]]


def _buffered(part: _Part, settings: Cut) -> tuple[list[tuple[int, int]], list[str]]:
    """The spans of a part's sentences, and what is embedded of each."""
    text = part.page.text
    shares = 2 * settings.buffer_size + 1
    most_tokens, most_characters = settings.most_tokens // shares - 1, settings.most_characters // shares - 2
    spans = [
        piece
        for start, end in sentence_spans(text, part.start, part.end)
        for piece in _spans(text, start, end, max(1, most_tokens), max(1, most_characters))
    ]
    texts = []
    for place in range(len(spans)):
        neighbours = spans[max(0, place - settings.buffer_size) : place + settings.buffer_size + 1]
        texts.append(" ".join(text[start:end] for start, end in neighbours))
    return spans, texts


def _groups(parts: list[_Part], settings: Cut, distances: Distances) -> list[tuple[_Part, int, int]]:
    """Spans of sentences that are about one thing: they end where the distance to the next exceeds the percentile."""
    buffered = [(part, *_buffered(part, settings)) for part in parts]
    texts = [text for _, _, part_texts in buffered for text in part_texts]
    between = distances(texts) if len(texts) > 1 else []
    if len(between) != max(0, len(texts) - 1):
        raise ValueError(f"{len(texts)} sentences have {len(texts) - 1} distances, not {len(between)}.")
    inner: list[list[float]] = []  # of each part: between its own sentences, not to the next part's
    first = 0
    for _, spans, _ in buffered:
        inner.append(between[first : first + len(spans) - 1] if spans else [])
        first += len(spans)
    bound = _percentile(sorted(itertools.chain.from_iterable(inner)), settings.breakpoint_percentile)
    groups: list[tuple[_Part, int, int]] = []
    for (part, spans, _), steps in zip(buffered, inner, strict=True):
        start = None
        for place, (begin, end) in enumerate(spans):
            start = begin if start is None else start
            if place == len(steps) or steps[place] > bound:
                groups.append((part, start, end))
                start = None
    return groups


def _percentile(ascending: list[float], percentile: int) -> float:
    """The value below which so many per cent of the values are, interpolated as numpy does."""
    if not ascending:
        return math.inf
    place = (len(ascending) - 1) * percentile / 100
    below = math.floor(place)
    above = min(below + 1, len(ascending) - 1)
    return ascending[below] + (ascending[above] - ascending[below]) * (place - below)
