"""Removes vectors, a bounded number at a time."""

from collections.abc import Collection
from typing import Final

MOST: Final = 1_000


def purge(index: int, groups: Collection[int], *, most: int = MOST) -> bool:
    """Removes vectors of these groups in the caller's transaction. True while there may be more: call it again."""
    raise NotImplementedError


def purge_index(index: int, *, most: int = MOST) -> bool:
    """Removes vectors of the index, at last the index itself. True while there may be more: call it again."""
    raise NotImplementedError
