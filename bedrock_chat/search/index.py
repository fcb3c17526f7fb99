"""Writing the index: groups of documents, and the words that mistyped ones are corrected to.

A group's rows are written under a lock that the caller holds on the group, so that two writers, or a writer and a
deletion, follow one another.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Final

from django.db import connection
from django.db.models import QuerySet

from bedrock_chat.database.connections import yield_sqlite_lock
from bedrock_chat.jobs.queue import Claimed
from bedrock_chat.search import lookup, vocabulary
from bedrock_chat.search.lookup import INDEX
from bedrock_chat.search.models import SearchDocument
from bedrock_chat.search.ranking import HEADING
from bedrock_chat.search.tokenizer import Token, tokens

MOST_CHARACTERS: Final = 200_000
MOST_TOKENS: Final = 20_000
MOST_BYTES: Final = 500_000
"""Of a longer text the beginning is indexed: PostgreSQL takes a megabyte of distinct tokens, and drops the rest."""

PAGES_AT_ONCE: Final = 200
"""Written in one step of a compaction, while other writers wait."""


@dataclass(frozen=True, slots=True)
class Group:
    """What is found as one. Whoever sees one of `scopes` may find it; its words serve those who see `vocabulary`."""

    kind: str
    id: int
    scopes: tuple[str, ...]
    vocabulary: str


@dataclass(frozen=True, slots=True)
class Document:
    """A text of a group. One without words has a row too, but for a heading: `known` tells where its owner goes on.

    `settled` is false while it may still change, so that its owner looks again.
    """

    key: int
    text: str
    settled: bool = True


@dataclass(frozen=True, slots=True)
class Known:
    """What the index has of a group: the highest key, and the words of its heading and of what is not settled."""

    last: int
    words: dict[int, str]


NOTHING: Final = Known(HEADING, {})


def known(group: Group) -> Known:
    """What the index has of a group."""
    rows = SearchDocument.objects.filter(kind=group.kind, group_id=group.id)
    last = rows.order_by("-key").values_list("key", flat=True).first()
    if last is None:
        return NOTHING
    again = rows.filter(key=HEADING) | rows.filter(settled=False)
    return Known(last, dict(again.values_list("key", "words")))


def write(group: Group, documents: Iterable[Document], replaced: Collection[int] = ()) -> None:
    """Indexes documents, in the place of those of the group with the `replaced` keys. Nothing is left of the latter.

    At most once in a transaction, which may hold the words of a vocabulary from here on.
    """
    gone = SearchDocument.objects.filter(kind=group.kind, group_id=group.id, key__in=replaced)
    _exchange(gone, group, documents)


def write_anew(group: Group, documents: Iterable[Document]) -> None:
    """Indexes documents in the place of the whole group."""
    _exchange(SearchDocument.objects.filter(kind=group.kind, group_id=group.id), group, documents)


def settle(group: Group, keys: Collection[int]) -> None:
    """These documents will not change any more."""
    SearchDocument.objects.filter(kind=group.kind, group_id=group.id, key__in=keys).update(settled=True)


def forget(kind: str, groups: Collection[int]) -> None:
    """Removes groups that are being deleted, in the same transaction: documents, index and words."""
    _exchange(SearchDocument.objects.filter(kind=kind, group_id__in=groups))


def compact(job: Claimed | None = None) -> None:
    """Removes from SQLite's file what deleted documents have left in it, in short steps. Call it outside a transaction.

    A periodic job. Raises LeaseLost where another worker has taken over.

    FTS5 notes that a token of a document is gone, and drops both only when it merges the parts of its index that hold
    them, which may be never. PostgreSQL's autovacuum does the like by itself.
    """
    if connection.vendor != "sqlite":
        return
    pages = -PAGES_AT_ONCE  # negative: take up all parts, whatever their sizes; afterwards go on with that
    with connection.cursor() as cursor:
        while True:
            before = connection.connection.total_changes
            with yield_sqlite_lock():
                cursor.execute(f"INSERT INTO {INDEX} ({INDEX}, rank) VALUES ('merge', %s)", [pages])  # noqa: S608
            if connection.connection.total_changes - before < 2:  # as FTS5 has it: there was nothing left to merge
                return
            pages = PAGES_AT_ONCE
            if job is not None:
                job.check()


def words_of(text: str) -> str:
    """What the index holds of a text."""
    return " ".join(token.text for token in _tokens(text))


def _tokens(text: str) -> list[Token]:
    found, left = [], MOST_BYTES
    for token in islice(tokens(text[:MOST_CHARACTERS]), MOST_TOKENS):
        if (left := left - len(token.text.encode()) - 1) < 0:
            break
        found.append(token)
    return found


def _rows(group: Group, documents: Iterable[Document]) -> list[SearchDocument]:
    return [
        SearchDocument(
            kind=group.kind,
            group_id=group.id,
            key=document.key,
            vocabulary=vocabulary.number(group.vocabulary),
            settled=document.settled,
            terms=" ".join(
                [
                    *(lookup.scope_mark(group.kind, scope) for scope in group.scopes),
                    *([lookup.HEADING_MARK] if document.key == HEADING else ()),
                    *sorted({token.first for token in found if token.first}),
                ]
            ),
            words=" ".join(token.text for token in found),
        )
        for document in documents
        if (found := _tokens(document.text)) or document.key != HEADING
    ]


def _exchange(gone: QuerySet[SearchDocument], group: Group | None = None, documents: Iterable[Document] = ()) -> None:
    change = vocabulary.Change()
    left = list(gone.values_list("vocabulary", "words"))
    if left:
        gone.delete()
    for number, words in left:
        vocabulary.count(change, number, words, -1)
    rows = _rows(group, documents) if group else []
    for row in rows:
        vocabulary.count(change, row.vocabulary, row.words, 1)
    SearchDocument.objects.bulk_create(rows)
    vocabulary.apply(change)
