"""Corrections of mistyped words. Pure."""

import re
from collections.abc import Collection
from typing import Final

SHORTEST: Final = 3
LONG: Final = 6
MOST_CORRECTIONS: Final = 5

_DIGIT: Final = re.compile(r"\d")


def edits(word: str) -> int:
    """How many letters may be wrong, missing, too many or swapped. Numbers are never corrected."""
    if len(word) < SHORTEST or _DIGIT.search(word):
        return 0
    return 1 if len(word) < LONG else 2


def corrections(word: str, vocabulary: Collection[str]) -> list[str]:
    """The nearest words, all at the same distance, first those with the same first letter; none where none is near.

    The distance is Damerau's in its restricted form (no letter is changed twice), which takes a sixth of the time.
    """
    allowed = edits(word)
    near = [other for other in vocabulary if abs(len(other) - len(word)) <= allowed]
    if not allowed or not near:
        return []
    from rapidfuzz import process  # noqa: PLC0415  it takes 2.4 MB
    from rapidfuzz.distance import OSA  # noqa: PLC0415

    matches = process.extract(word, near, scorer=OSA.distance, score_cutoff=allowed, limit=None)
    words = [
        (int(distance), other[:1] != word[:1], other) for other, distance, _ in matches if not _DIGIT.search(other)
    ]
    best = min((distance for distance, _, _ in words), default=0)
    return [other for distance, _, other in sorted(words) if distance == best][:MOST_CORRECTIONS]
