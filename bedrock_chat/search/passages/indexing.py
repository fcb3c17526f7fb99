"""Indexes the words of passages, and removes them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

MOST_AT_ONCE: Final = 8
"""Passages that one transaction writes or removes, while other writers of SQLite's file wait."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Passages as the index keeps them, cut into words and counted. `parts` are what one transaction writes of it."""

    passages: tuple[object, ...]

    def parts(self) -> "list[Prepared]":
        """The same in pieces of MOST_AT_ONCE."""
        return [
            Prepared(self.passages[start : start + MOST_AT_ONCE])
            for start in range(0, len(self.passages), MOST_AT_ONCE)
        ]


def prepare(passages: Iterable[tuple[int, str]]) -> Prepared:
    """Cuts texts, by key, into words and counts them. Costs most of the work: call it outside a transaction."""
    raise NotImplementedError


def write(scope: int, group: int, prepared: Prepared) -> None:
    """Indexes at most MOST_AT_ONCE passages, a part of what was prepared. Call it at most once in a transaction."""
    raise NotImplementedError


def remove(scope: int, group: int, *, most: int = MOST_AT_ONCE) -> bool:
    """Removes passages of a group, at most so many. True while there may be more. At most once in a transaction."""
    raise NotImplementedError


def indexed(scope: int, group: int) -> Sequence[int]:
    """The keys that are indexed of a group, for who goes on after an interruption."""
    raise NotImplementedError
