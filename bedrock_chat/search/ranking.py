"""Which of the candidates match a query, and how well. Pure, so that every database gives the same order."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from bedrock_chat.search.query import Term

HEADING: Final = 0
"""The key of a group's heading, whose words weigh more."""

SATURATION: Final = 1.2
"""BM25's k1: how soon further occurrences of a word stop to count."""
LENGTH: Final = 0.4
"""BM25's b: how much the length of a text lowers its score."""
WEIGHTS: Final[Mapping[int, float]] = MappingProxyType({HEADING: 3.0})
"""Key of a document → how much its words weigh; those of all others weigh 1."""
GUESS_WEIGHT: Final = 0.7
"""Of an occurrence of a guessed alternative; one of the typed word has 1."""
IN_ORDER_WEIGHT: Final = 1.5
"""Of a document that holds all terms one after the other."""
FURTHER_WEIGHT: Final = 0.1
"""Of the further documents of a group; its best has 1."""
FEWEST_TERMS: Final = 1 / 3
"""The share of a query's terms that a group must hold where no document holds all."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A document that holds the tokens of a query, in whatever order. A higher `id` was indexed later."""

    id: int
    group: int
    key: int
    words: str


@dataclass(frozen=True, slots=True)
class Hit:
    """A group that matches; `keys` are its documents, the best first."""

    group: int
    score: float
    keys: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Counted:
    """A candidate with the weighted number of each term's occurrences, and whether all terms stand there in order."""

    candidate: Candidate
    counts: list[float]
    in_order: bool


@dataclass(frozen=True, slots=True)
class _Scored:
    """A candidate with its score for each term."""

    candidate: Candidate
    scores: list[float]

    @property
    def total(self) -> float:
        return sum(self.scores)


def rank(
    candidates: Sequence[Candidate], terms: Sequence[Term], *, every: bool, weights: Mapping[int, float] = WEIGHTS
) -> list[Hit]:
    """The groups that match, the best first. Of groups with equal scores, the one that was indexed last comes first.

    With `every`, a document matches if it holds every term. Without, a group matches if it holds at least FEWEST_TERMS
    of them, and at least half as many as the group that holds most.

    1. The occurrences of each term in each candidate are counted.
    2. Each candidate gets a score for each term.
    3. Without `every`, groups that hold too few terms are dropped.
    4. The scores of a group's documents become one, and groups are sorted by it.
    """
    counted = _count(candidates, terms, every=every)
    groups: dict[int, list[_Scored]] = {}
    for scored in _score(counted, len(terms), weights):
        groups.setdefault(scored.candidate.group, []).append(scored)
    if not every and groups:
        terms_held = {
            group: sum(map(any, zip(*(document.scores for document in documents), strict=True)))
            for group, documents in groups.items()
        }
        fewest = max(FEWEST_TERMS * len(terms), max(terms_held.values()) / 2)
        groups = {group: documents for group, documents in groups.items() if terms_held[group] >= fewest}
    newest = {group: max(document.candidate.id for document in documents) for group, documents in groups.items()}
    hits = [_hit(group, documents) for group, documents in groups.items()]
    return sorted(hits, key=lambda hit: (-round(hit.score, 6), -newest[hit.group]))


def _count(candidates: Sequence[Candidate], terms: Sequence[Term], *, every: bool) -> list[_Counted]:
    """How often each term stands in each candidate's words. The tokens of a term must follow one another."""
    needles = [
        [(phrase.needle, GUESS_WEIGHT if index else 1.0) for index, phrase in enumerate(term.alternatives)]
        for term in terms
    ]
    whole_query = "".join(term.alternatives[0].needle.rstrip() for term in terms) if len(terms) > 1 else "\n"
    matching = []
    for candidate in candidates:
        words = f" {candidate.words} "
        counts = []
        for term in needles:
            count = 0.0
            for needle, weight in term:
                if needle in words:  # most do not hold it, and `count` is slower to say so
                    count += words.count(needle) * weight
            if every and not count:
                break
            counts.append(count)
        else:
            if any(counts):
                matching.append(_Counted(candidate, counts, whole_query in words))
    return matching


def _score(counted: Sequence[_Counted], terms: int, weights_of_keys: Mapping[int, float]) -> list[_Scored]:
    """BM25 over the candidates alone: it must not reveal how rare a word is in the documents of others."""
    if not counted:
        return []
    average = sum(len(document.candidate.words) for document in counted) / len(counted)
    holding = [sum(1 for document in counted if document.counts[term]) for term in range(terms)]
    weights = [math.log(1 + (1 + len(counted)) / (1 + holders)) for holders in holding]
    scored = []
    for document in counted:
        norm = SATURATION * (1 - LENGTH + LENGTH * len(document.candidate.words) / average)
        boost = weights_of_keys.get(document.candidate.key, 1.0)
        boost *= IN_ORDER_WEIGHT if document.in_order else 1.0
        scores = [
            boost * weight * count * (SATURATION + 1) / (count + norm)
            for weight, count in zip(weights, document.counts, strict=True)
        ]
        scored.append(_Scored(document.candidate, scores))
    return scored


def _hit(group: int, documents: list[_Scored]) -> Hit:
    """A group with its score. For each term its best document counts, so that one document may make up for another."""
    best = sum(map(max, zip(*(document.scores for document in documents), strict=True)))
    documents.sort(key=lambda document: (-document.total, -document.candidate.id))
    further = math.log1p(sum(document.total for document in documents[1:]))
    return Hit(group, best + FURTHER_WEIGHT * further, tuple(document.candidate.key for document in documents))
