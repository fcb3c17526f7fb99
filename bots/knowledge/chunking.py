"""Cutting a document into chunks, purely: the same text, title and settings give the same chunks.

Each page, and each part under a heading of the first two levels, is cut by itself, so that an edit renews the chunks
beside it and no others.
"""

import hashlib
from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import Literal

from bots.knowledge.reading.pages import Reading

Strategy = Literal["default", "fixed_size", "hierarchical", "semantic", "none"]
Distances = Callable[[list[str]], list[float]]
"""From n texts to the n - 1 distances between neighbours."""


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


def cut(reading: Reading, settings: Cut, *, title: str, distances: Distances | None = None) -> list[Chunk]:
    """The chunks of a document, in order, whose positions count from 0. Not one of them is blank.

    `distances` is for semantic alone, and is called once with what `sentences` returns.
    """
    raise NotImplementedError


def sentences(reading: Reading, settings: Cut) -> list[str]:
    """What semantic cutting embeds: each sentence, with as many neighbours on both sides as the buffer has."""
    raise NotImplementedError


def halves(text: str) -> tuple[str, str]:
    """A text that a model calls too long, as two: cut where a sentence or a word ends, as near the middle as it can be.

    Put together they are the text. Raises ValueError for less than two characters.
    """
    raise NotImplementedError
