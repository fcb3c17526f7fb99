"""The words that those who share a vocabulary have used: what a mistyped word, or the beginning of one, may mean."""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import Final

import orjson
from django.db import connection
from django.db.models.functions import Length

from bedrock_chat.search import typos
from bedrock_chat.search.models import SearchWord
from bedrock_chat.search.tokenizer import is_spaceless

MOST_ENDINGS: Final = 20
LAST_CHARACTER: Final = "\U0010ffff"

Change = Counter[tuple[int, str]]
"""Vocabulary and word → in how many more documents it is."""


def number(name: str) -> int:
    """What a vocabulary is called in the tables."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), signed=True)


# ---- Writing --------------------------------------------------------------------------------------------------------


def count(change: Change, vocabulary: int, words: str, by: int) -> None:
    """Adds a document's words to a change, or takes them away: words alone, no numbers and no pairs of characters."""
    for word in set(words.split(" ")):
        if len(word) >= typos.SHORTEST and not word.isdigit() and not is_spaceless(word):
            change[vocabulary, word] += by


def apply(change: Change) -> None:
    """Changes the counts; a word that no document holds any more is gone. At most once in a transaction.

    In the order of the words, so that no two writers of one vocabulary wait for one another.
    """
    rows = sorted((vocabulary, word, by) for (vocabulary, word), by in change.items() if by)
    if not rows:
        return
    with connection.cursor() as cursor:
        arrays = connection.vendor == "postgresql"
        given = [list(column) for column in zip(*rows, strict=True)] if arrays else [orjson.dumps(rows).decode()]
        cursor.execute(_upsert(connection.vendor), given)
    for vocabulary in {vocabulary for vocabulary, _, by in rows if by < 0}:
        SearchWord.objects.filter(vocabulary=vocabulary, documents__lte=0).delete()


@lru_cache(maxsize=2)
def _upsert(vendor: str) -> str:
    table = SearchWord._meta.db_table
    given = (
        "SELECT * FROM unnest(%s::bigint[], %s::text[], %s::integer[])"
        if vendor == "postgresql"
        else "SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]') "
        "FROM json_each(%s) WHERE true"
    )
    return (
        f"INSERT INTO {table} (vocabulary, word, documents) {given} "
        f"ON CONFLICT (vocabulary, word) DO UPDATE SET documents = {table}.documents + excluded.documents"
    )


# ---- Reading --------------------------------------------------------------------------------------------------------


def known(vocabulary: int, words: Collection[str]) -> set[str]:
    """Those of the words that are in the vocabulary."""
    rows = SearchWord.objects.filter(vocabulary=vocabulary, word__in=words)
    return set(rows.values_list("word", flat=True))


def longer(vocabulary: int, word: str) -> list[str]:
    """The words that begin with this one, the shortest first; none for a letter or two, which begin too many."""
    if len(word) < typos.SHORTEST:
        return []
    rows = SearchWord.objects.filter(vocabulary=vocabulary, word__gt=word, word__lt=word + LAST_CHARACTER)
    return list(rows.order_by(Length("word"), "word").values_list("word", flat=True)[:MOST_ENDINGS])


def near(vocabulary: int, words: Iterable[str]) -> list[str]:
    """The words that are no longer or shorter than these by more than may be mistyped."""
    lengths = [len(word) + more for word in words if (edits := typos.edits(word)) for more in (-edits, edits)]
    if not lengths:
        return []
    with connection.cursor() as cursor:  # as one value: a row for each word would take longer than all the rest
        cursor.execute(_near(connection.vendor), [vocabulary, min(lengths), max(lengths)])
        (found,) = cursor.fetchone()
    return found.split(" ") if found else []


@lru_cache(maxsize=2)
def _near(vendor: str) -> str:
    joined = "string_agg" if vendor == "postgresql" else "group_concat"
    table = SearchWord._meta.db_table
    return f"SELECT {joined}(word, ' ') FROM {table} WHERE vocabulary = %s AND length(word) BETWEEN %s AND %s"  # noqa: S608
