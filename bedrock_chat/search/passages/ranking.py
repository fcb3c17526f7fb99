"""How well passages match the words of a query: BM25. Pure."""

import math
from collections.abc import Sequence

from bedrock_chat.search.query import Term
from bedrock_chat.search.ranking import GUESS_WEIGHT, LENGTH, SATURATION


def weight(frequency: int, total: int) -> float:
    """How much a word tells (idf) that so many of all passages hold. Never below zero."""
    frequency = min(frequency, total)
    return math.log(1 + (total - frequency + 0.5) / (frequency + 0.5))


def attainable(weights: Sequence[float]) -> float:
    """The most that a passage could score: one of nothing but the query's words, over and over."""
    return sum(weights) * (SATURATION + 1)


def score(texts: Sequence[str], terms: Sequence[Term], weights: Sequence[float]) -> list[float]:
    """The score of each text, which is its words with blanks between. Lengths are measured by these texts alone."""
    if not texts:
        return []
    lengths = [text.count(" ") + 1 for text in texts]
    average = sum(lengths) / len(lengths)
    padded = [f" {text} " for text in texts]
    scores = [0.0] * len(texts)
    for term, importance in zip(terms, weights, strict=True):
        for place, occurrences in enumerate(_occurrences(padded, term)):
            if occurrences:
                norm = SATURATION * (1 - LENGTH + LENGTH * lengths[place] / average)
                scores[place] += importance * occurrences * (SATURATION + 1) / (occurrences + norm)
    return scores


def _occurrences(padded: Sequence[str], term: Term) -> list[float]:
    """How often a term stands in each text. A guessed alternative counts less."""
    totals = [0.0] * len(padded)
    for alternative, phrase in enumerate(term.alternatives):
        worth = GUESS_WEIGHT if alternative else 1.0
        needle = phrase.needle
        for place, text in enumerate(padded):
            if needle in text:  # most do not hold it, and `count` is slower to say so
                totals[place] += worth * text.count(needle)
    return totals
