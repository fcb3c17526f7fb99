"""Indexes the words of passages, and removes them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from bedrock_chat.search import index, lookup, vocabulary
from bedrock_chat.search.models import SearchDocument

KIND: Final = "knowledge"

MOST_AT_ONCE: Final = 8
"""Passages that one transaction writes or removes, while other writers of SQLite's file wait."""

SAMPLED: Final = 64
"""Of so many passages one is in the sample of its scope, which tells cheaply how frequent a word is."""

_SPREAD: Final = 0x9E3779B97F4A7C15
"""2⁶⁴ divided by the golden ratio: it spreads keys that follow one another, whatever order they were given in."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Passages cut into words and counted, as the index keeps them."""

    passages: tuple[index.Prepared, ...]

    def parts(self) -> "list[Prepared]":
        """The same in pieces of MOST_AT_ONCE."""
        return [
            Prepared(self.passages[start : start + MOST_AT_ONCE])
            for start in range(0, len(self.passages), MOST_AT_ONCE)
        ]


def prepare(passages: Iterable[tuple[int, str]]) -> Prepared:
    """Cuts texts, by key, into words and counts them. That is most of the work: call it outside a transaction."""
    return Prepared(tuple(index.prepare(key, text) for key, text in passages))


def write(scope: int, group: int, prepared: Prepared) -> None:
    """Indexes at most MOST_AT_ONCE passages, a part of what was prepared. Call it at most once in a transaction.

    Raises ValueError where there are more, IntegrityError where the group has a passage of one of the keys.
    """
    if len(prepared.passages) > MOST_AT_ONCE:
        raise ValueError(f"{len(prepared.passages)} passages at once: at most {MOST_AT_ONCE}.")
    documents = [
        replace(passage, marks=_sample_marks(scope, passage)) if is_sampled(passage.key) else passage
        for passage in prepared.passages
    ]
    index.write_prepared(group_of(scope, group), documents)


def remove(scope: int, group: int, *, most: int = MOST_AT_ONCE) -> bool:
    """Removes passages of a group, at most so many. True while there may be more. At most once in a transaction."""
    return index.remove_some(group_of(scope, group), most)


def indexed(scope: int, group: int) -> Sequence[int]:
    """The keys that are indexed of a group, in their order."""
    rows = SearchDocument.objects.filter(kind=KIND, group_id=group, vocabulary=vocabulary.number(vocabulary_of(scope)))
    return list(rows.order_by("key").values_list("key", flat=True))


def group_of(scope: int, group: int) -> index.Group:
    """The group, as the index names it."""
    return index.Group(KIND, group, (str(scope),), vocabulary_of(scope))


def is_sampled(key: int) -> bool:
    """Whether a passage is in the sample. Every 64th would not do: documents are cut in steps, and so are keys."""
    return (key * _SPREAD % 2**64) * SAMPLED < 2**64


def vocabulary_of(scope: int) -> str:
    return f"{KIND} {scope}"


def scope_mark(scope: int) -> str:
    """The token of all passages of a scope."""
    return lookup.scope_mark(KIND, str(scope))


def sample_mark(scope: int, token: str) -> str:
    """The token of the sampled passages of a scope that hold a token."""
    return f"{scope_mark(scope)}:{token}"


def _sample_marks(scope: int, passage: index.Prepared) -> str:
    different = {*passage.words.split(" "), *passage.firsts.split(" ")} - {""}
    return " ".join(sorted(sample_mark(scope, token) for token in different))
