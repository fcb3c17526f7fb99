"""Writes the index: groups of documents, and the words that typos are corrected to.

The caller holds a lock on the group while its rows are written, so that two writers, or a writer and a deletion, run
one after the other.
"""

from collections.abc import Collection, Iterable, Sequence
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
"""Of a longer text the beginning is indexed: PostgreSQL accepts a megabyte of distinct tokens, and drops the rest."""

PAGES_AT_ONCE: Final = 200
"""Pages that one step of a compaction writes, while other writers wait."""


@dataclass(frozen=True, slots=True)
class Group:
    """Documents that are one hit. Whoever sees one of `scopes` may find it.

    Its words serve those who see `vocabulary`: typos are corrected to them. Without one they serve nobody.
    """

    kind: str
    id: int
    scopes: tuple[str, ...]
    vocabulary: str | None


@dataclass(frozen=True, slots=True)
class Document:
    """A text of a group. One without words has a row too, so that `known` has its key; only a heading then has none.

    `settled` is false while the text may still change, so that the app that indexes it looks again.
    """

    key: int
    text: str
    settled: bool = True


@dataclass(frozen=True, slots=True)
class Prepared:
    """A document cut into words, which is most of the work of writing it.

    `words` are all in their order, `firsts` the single characters that pairs begin with, `counted` the words that its
    vocabulary counts. `marks` are further tokens, by which the app that indexes it finds it.
    """

    key: int
    words: str
    firsts: str
    counted: tuple[str, ...]
    marks: str = ""


@dataclass(frozen=True, slots=True)
class Known:
    """What the index has of a group: the highest key, and by key the words of heading and unsettled documents."""

    last: int
    words: dict[int, str]


NOTHING: Final = Known(HEADING, {})


def known(group: Group) -> Known:
    """What the index has of a group."""
    rows = SearchDocument.objects.filter(kind=group.kind, group_id=group.id)
    last = rows.order_by("-key").values_list("key", flat=True).first()
    if last is None:
        return NOTHING
    changeable = rows.filter(key=HEADING) | rows.filter(settled=False)
    return Known(last, dict(changeable.values_list("key", "words")))


def write(group: Group, documents: Iterable[Document], replaced: Collection[int] = ()) -> None:
    """Indexes documents, and removes those of the group with the `replaced` keys, index and words included.

    Call it at most once in a transaction: from here on the transaction may lock words of a vocabulary.
    """
    removed = SearchDocument.objects.filter(kind=group.kind, group_id=group.id, key__in=replaced)
    _exchange(removed, group, documents)


def prepare(key: int, text: str) -> Prepared:
    """Cuts a text into words and counts them. Call it outside the transaction that writes it by `write_prepared`."""
    document_tokens = _tokens(text)
    words = " ".join(token.text for token in document_tokens)
    firsts = " ".join(sorted({token.first for token in document_tokens if token.first}))
    return Prepared(key, words, firsts, tuple(vocabulary.countable(words)) if words else ())


def write_prepared(group: Group, documents: Sequence[Prepared]) -> None:
    """As `write`, of texts that were cut before: so the transaction is as short as the database makes it."""
    number = vocabulary.number(group.vocabulary)
    scopes = [lookup.scope_mark(group.kind, scope) for scope in group.scopes]
    SearchDocument.objects.bulk_create(
        SearchDocument(
            kind=group.kind,
            group_id=group.id,
            key=document.key,
            vocabulary=number,
            terms=" ".join(filter(None, [*scopes, document.marks, document.firsts])),
            words=document.words,
        )
        for document in documents
    )
    change = vocabulary.Change()
    if number != vocabulary.NOBODYS:
        change.update((number, word) for document in documents for word in document.counted)
    vocabulary.apply(change)


def remove_some(group: Group, most: int) -> bool:
    """Removes documents of a group with its vocabulary, at most so many. True while there may be more."""
    rows = SearchDocument.objects.filter(
        kind=group.kind, group_id=group.id, vocabulary=vocabulary.number(group.vocabulary)
    )
    keys = list(rows.values_list("key", flat=True)[:most])
    if keys:
        _exchange(rows.filter(key__in=keys))
    return len(keys) == most


def write_anew(group: Group, documents: Iterable[Document]) -> None:
    """Indexes documents in the place of the whole group."""
    _exchange(SearchDocument.objects.filter(kind=group.kind, group_id=group.id), group, documents)


def settle(group: Group, keys: Collection[int]) -> None:
    """Notes that these documents will not change any more."""
    SearchDocument.objects.filter(kind=group.kind, group_id=group.id, key__in=keys).update(settled=True)


def forget(kind: str, groups: Collection[int]) -> None:
    """Removes groups that are being deleted, in the same transaction: documents, index and words."""
    _exchange(SearchDocument.objects.filter(kind=kind, group_id__in=groups))


def compact(job: Claimed | None = None) -> None:
    """Removes from SQLite's file what deleted documents have left in it, in short steps. Call it outside a transaction.

    A periodic job. Raises LeaseLost where another worker has taken over.

    When a document is deleted, FTS5 only notes that its tokens are gone. It drops token and note when it merges the
    parts of its index that hold them, which may be never. PostgreSQL's autovacuum cleans up by itself.
    """
    if connection.vendor != "sqlite":
        return
    pages = -PAGES_AT_ONCE  # negative: begins a merge of all parts, whatever their sizes; later steps continue it
    with connection.cursor() as cursor:
        while True:
            before = connection.connection.total_changes
            with yield_sqlite_lock():
                cursor.execute(f"INSERT INTO {INDEX} ({INDEX}, rank) VALUES ('merge', %s)", [pages])  # noqa: S608
            if connection.connection.total_changes - before < 2:  # FTS5's sign that nothing was left to merge
                return
            pages = PAGES_AT_ONCE
            if job is not None:
                job.check()


def words_of(text: str) -> str:
    """The tokens that the index holds of a text, joined with blanks."""
    return " ".join(token.text for token in _tokens(text))


def _tokens(text: str) -> list[Token]:
    """The tokens of a text, up to the limits of the index."""
    kept, bytes_left = [], MOST_BYTES
    for token in islice(tokens(text[:MOST_CHARACTERS]), MOST_TOKENS):
        if (bytes_left := bytes_left - len(token.text.encode()) - 1) < 0:
            break
        kept.append(token)
    return kept


def _rows(group: Group, documents: Iterable[Document]) -> list[SearchDocument]:
    """The unsaved rows of documents; a heading without words has none."""
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
                    *sorted({token.first for token in document_tokens if token.first}),
                ]
            ),
            words=" ".join(token.text for token in document_tokens),
        )
        for document in documents
        if (document_tokens := _tokens(document.text)) or document.key != HEADING
    ]


def _exchange(
    removed: QuerySet[SearchDocument], group: Group | None = None, documents: Iterable[Document] = ()
) -> None:
    """Deletes rows, inserts those of documents, and counts the words of both in their vocabularies."""
    change = vocabulary.Change()
    removed_words = list(removed.values_list("vocabulary", "words"))
    if removed_words:
        removed.delete()
    for number, words in removed_words:
        vocabulary.count(change, number, words, -1)
    rows = _rows(group, documents) if group else []
    for row in rows:
        vocabulary.count(change, row.vocabulary, row.words, 1)
    SearchDocument.objects.bulk_create(rows)
    vocabulary.apply(change)
