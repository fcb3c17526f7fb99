"""Which of the candidates answer a query, and how well. Pure, so that every database gives the same order."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bedrock_chat.search.query import Term

HEADING: Final = 0
"""The key of a group's heading, whose words weigh more."""

SATURATION: Final = 1.2
LENGTH: Final = 0.4
"""BM25's k1 and b: how soon more of a word stops to count, and how much a long text is held against it."""
HEADING_WEIGHT: Final = 3.0
GUESSED: Final = 0.7
"""What an alternative counts against the word that was asked for."""
IN_ORDER: Final = 1.5
MORE: Final = 0.1
"""What further documents of a group count against its best."""
FEWEST: Final = 1 / 3
"""The share of a query's terms that a group must hold where nothing holds all."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A document that holds the tokens of a query, in whatever order. A higher `id` was indexed later."""

    id: int
    group: int
    key: int
    words: str


@dataclass(frozen=True, slots=True)
class Hit:
    """A group that answers; `keys` are its documents, the best first."""

    group: int
    score: float
    keys: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Counted:
    candidate: Candidate
    counts: list[float]
    in_order: bool


@dataclass(frozen=True, slots=True)
class _Scored:
    candidate: Candidate
    scores: list[float]

    @property
    def total(self) -> float:
        return sum(self.scores)


def rank(candidates: Sequence[Candidate], terms: Sequence[Term], *, every: bool) -> list[Hit]:
    """The groups that answer, the best first; of equals the one that was indexed last.

    With `every`, a document counts that holds each term; else a group does that holds enough of them, and at least half
    as many as the best.
    """
    counted = _count(candidates, terms, every=every)
    groups: dict[int, list[_Scored]] = {}
    for scored in _score(counted, len(terms)):
        groups.setdefault(scored.candidate.group, []).append(scored)
    if not every and groups:
        held = {
            group: sum(map(any, zip(*(one.scores for one in found), strict=True))) for group, found in groups.items()
        }
        fewest = max(FEWEST * len(terms), max(held.values()) / 2)
        groups = {group: found for group, found in groups.items() if held[group] >= fewest}
    newest = {group: max(one.candidate.id for one in found) for group, found in groups.items()}
    hits = [_hit(group, found) for group, found in groups.items()]
    return sorted(hits, key=lambda hit: (-round(hit.score, 6), -newest[hit.group]))


def _count(candidates: Sequence[Candidate], terms: Sequence[Term], *, every: bool) -> list[_Counted]:
    """How often each term stands in each candidate's words, its tokens one after the other."""
    needles = [
        [(phrase.needle, GUESSED if index else 1.0) for index, phrase in enumerate(term.alternatives)] for term in terms
    ]
    whole = "".join(term.alternatives[0].needle.rstrip() for term in terms) if len(terms) > 1 else "\n"
    found = []
    for candidate in candidates:
        words = f" {candidate.words} "
        counts = [sum(words.count(needle) * weight for needle, weight in one) for one in needles]
        if all(counts) if every else any(counts):
            found.append(_Counted(candidate, counts, whole in words))
    return found


def _score(counted: Sequence[_Counted], terms: int) -> list[_Scored]:
    """BM25 among the candidates alone: how rare a word is to others is nobody's business."""
    if not counted:
        return []
    average = sum(len(one.candidate.words) for one in counted) / len(counted)
    holding = [sum(1 for one in counted if one.counts[term]) for term in range(terms)]
    weights = [math.log(1 + (1 + len(counted)) / (1 + holders)) for holders in holding]
    scored = []
    for one in counted:
        norm = SATURATION * (1 - LENGTH + LENGTH * len(one.candidate.words) / average)
        boost = (HEADING_WEIGHT if one.candidate.key == HEADING else 1.0) * (IN_ORDER if one.in_order else 1.0)
        scores = [
            boost * weight * count * (SATURATION + 1) / (count + norm)
            for weight, count in zip(weights, one.counts, strict=True)
        ]
        scored.append(_Scored(one.candidate, scores))
    return scored


def _hit(group: int, found: list[_Scored]) -> Hit:
    """Of each term the best document counts, so that what one of them lacks another may hold."""
    best = sum(map(max, zip(*(one.scores for one in found), strict=True)))
    found.sort(key=lambda one: (-one.total, -one.candidate.id))
    more = math.log1p(sum(one.total for one in found[1:]))
    return Hit(group, best + MORE * more, tuple(one.candidate.key for one in found))
