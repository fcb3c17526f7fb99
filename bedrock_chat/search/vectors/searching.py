"""The passages whose vectors are nearest to a question's."""

from collections.abc import Collection, Sequence
from typing import Final

NEAREST: Final = 200


def nearest(index: int, query: Sequence[float], *, limit: int = NEAREST) -> list[tuple[int, float]]:
    """Visible keys and their similarities (cosines), the most similar first."""
    raise NotImplementedError


def similarities(index: int, query: Sequence[float], keys: Collection[int]) -> dict[int, float]:
    """The similarity of each of these keys that has a vector in the index, visible or not."""
    raise NotImplementedError
