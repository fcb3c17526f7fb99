"""Writes vectors out of sight, and makes groups of them visible."""

from collections.abc import Collection, Sequence

Vector = Sequence[float] | bytes
"""Numbers as a model gives them, or what `quantising.quantise` has made of them, outside the transaction."""


def write(index: int, group: int, vectors: Sequence[tuple[int, Vector]]) -> None:
    """Writes a batch of vectors, by key, out of sight, in the caller's transaction."""
    raise NotImplementedError


def copy(index: int, group: int, keys: Sequence[tuple[int, int]], *, from_index: int | None = None) -> set[int]:
    """Gives new keys the vectors of old ones, (from, to), out of sight. Returns the new keys that have got one."""
    raise NotImplementedError


def join(index: int, group: int) -> None:
    """Makes the rows of bits of a group, which is out of sight, one row. Doing it again does nothing."""
    raise NotImplementedError


def publish(index: int, *, show: Collection[int] = (), hide: Collection[int] = ()) -> None:
    """Makes groups visible and others invisible: one short statement each, whatever their size."""
    raise NotImplementedError
