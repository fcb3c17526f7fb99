"""Puts what is near in meaning and what holds the query's words into one order. Pure.

Both scores are brought to 0 … 1 first, since neither means anything next to the other. Similarities of one query lie
close together, so they are stretched over the best FIFTY of them. BM25 is divided by the most that the query could
score: a passage that holds one of its ten words gets little, even where no other passage holds more.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

FIFTY: Final = 50
"""The place in the order by similarity from which on a similarity counts nothing."""
MEANING: Final = 0.7
WORDS: Final = 0.3


@dataclass(frozen=True, slots=True)
class Words:
    """What a look-up by words found.

    `hits` are keys and their BM25, the best first. `attainable` is the most that the query could score. `identifiers`
    are the keys of passages that hold a rare identifier of the query (a part number, an amount): they come first.
    """

    hits: tuple[tuple[int, float], ...] = ()
    attainable: float = 0.0
    identifiers: frozenset[int] = frozenset()


NO_WORDS: Final = Words()


@dataclass(frozen=True, slots=True)
class Fused:
    """A passage with its score (0 … 1) and what it is made of.

    `similarity` is the cosine, None where it is unknown. `words` is the share of the attainable BM25 (0 … 1).
    """

    key: int
    score: float
    similarity: float | None
    words: float
    is_identified: bool = False


def fuse(similar: Mapping[int, float], words: Words = NO_WORDS) -> list[Fused]:
    """The passages of both searches, the best first; equal ones in the order of their keys.

    `similar` maps keys to similarities: of the nearest passages, and of those that only the words found, whose
    similarity the caller looks up. One without a similarity is scored by its words alone, and without words the order
    is that of the similarities.
    """
    scaled = _scaled(similar)
    shares = {key: min(1.0, score / words.attainable) if words.attainable else 0.0 for key, score in words.hits}
    fused = [
        Fused(
            key,
            MEANING * scaled.get(key, 0.0) + WORDS * shares.get(key, 0.0),
            similar.get(key),
            shares.get(key, 0.0),
            key in words.identifiers,
        )
        for key in {**similar, **shares, **dict.fromkeys(words.identifiers)}
    ]
    return sorted(fused, key=lambda row: (not row.is_identified, -row.score, -(row.similarity or 0.0), row.key))


def _scaled(similar: Mapping[int, float]) -> dict[int, float]:
    """Similarities from 0, for the fiftieth or last, to 1, for the best; 1 where all are equal."""
    if not similar:
        return {}
    order = sorted(similar.values(), reverse=True)
    best, least = order[0], order[:FIFTY][-1]
    if best == least:
        return {key: 1.0 if similarity >= best else 0.0 for key, similarity in similar.items()}
    return {key: max(0.0, (similarity - least) / (best - least)) for key, similarity in similar.items()}
