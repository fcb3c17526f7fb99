"""The words that those who share a vocabulary have used. A typo, or the beginning of a word, may mean one of them."""

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
from bedrock_chat.search.tokenizer import is_word

MOST_ENDINGS: Final = 20
LAST_CHARACTER: Final = "\U0010ffff"
NOBODYS: Final = 0
"""In place of a vocabulary's number, of a document whose words serve nobody."""

Change = Counter[tuple[int, str]]
"""Vocabulary and word → how many more documents hold it, negative for fewer."""


def number(name: str | None) -> int:
    """The number of a vocabulary in the tables: a digest of its name, and NOBODYS for none."""
    if name is None:
        return NOBODYS
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), signed=True)


# ---- Writing --------------------------------------------------------------------------------------------------------


def count(change: Change, vocabulary: int, words: str, by: int) -> None:
    """Counts a document's words in a change, `by` 1 or -1."""
    if vocabulary != NOBODYS:
        for word in countable(words):
            change[vocabulary, word] += by


def countable(words: str) -> list[str]:
    """The different words of a document that are counted: no numbers, symbols and pairs of characters."""
    return [
        word for word in set(words.split(" ")) if len(word) >= typos.SHORTEST and not word.isdigit() and is_word(word)
    ]


def apply(change: Change) -> None:
    """Changes the counts, and deletes words that no document holds any more. Call it at most once in a transaction.

    Rows are written in the order of the words, so that two writers of one vocabulary cannot deadlock.
    """
    rows = sorted((vocabulary, word, by) for (vocabulary, word), by in change.items() if by)
    if not rows:
        return
    with connection.cursor() as cursor:
        arrays = connection.vendor == "postgresql"
        parameters = [list(column) for column in zip(*rows, strict=True)] if arrays else [orjson.dumps(rows).decode()]
        cursor.execute(_upsert_sql(connection.vendor), parameters)
    for vocabulary in {vocabulary for vocabulary, _, by in rows if by < 0}:
        SearchWord.objects.filter(vocabulary=vocabulary, documents__lte=0).delete()


@lru_cache(maxsize=2)
def _upsert_sql(vendor: str) -> str:
    table = SearchWord._meta.db_table
    changes = (
        "SELECT * FROM unnest(%s::bigint[], %s::text[], %s::integer[])"
        if vendor == "postgresql"
        else "SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]') "
        "FROM json_each(%s) WHERE true"
    )
    return (
        f"INSERT INTO {table} (vocabulary, word, documents) {changes} "
        f"ON CONFLICT (vocabulary, word) DO UPDATE SET documents = {table}.documents + excluded.documents"
    )


# ---- Reading --------------------------------------------------------------------------------------------------------


def known(vocabulary: int, words: Collection[str]) -> set[str]:
    """Those of the words that are in the vocabulary."""
    rows = SearchWord.objects.filter(vocabulary=vocabulary, word__in=words)
    return set(rows.values_list("word", flat=True))


def completions(vocabulary: int, word: str) -> list[str]:
    """Longer words that begin with this one, the shortest first; none for one or two letters, which begin too many."""
    if len(word) < typos.SHORTEST:
        return []
    rows = SearchWord.objects.filter(vocabulary=vocabulary, word__gt=word, word__lt=word + LAST_CHARACTER)
    return list(rows.order_by(Length("word"), "word").values_list("word", flat=True)[:MOST_ENDINGS])


def of_similar_length(vocabulary: int, words: Iterable[str]) -> list[str]:
    """The words between the shortest and the longest length that a correction of one of these may have."""
    lengths = [len(word) + more for word in words if (edits := typos.edits(word)) for more in (-edits, edits)]
    if not lengths:
        return []
    with connection.cursor() as cursor:  # as one value: a row for each word would take longer than all else
        cursor.execute(_similar_length_sql(connection.vendor), [vocabulary, min(lengths), max(lengths)])
        (joined,) = cursor.fetchone()
    return joined.split(" ") if joined else []


def beginning_alike(vocabulary: int, words: Collection[str]) -> list[str]:
    """As `of_similar_length`, of these only the words that begin with the first letter of one of `words`.

    Of a vocabulary of 200,000 words that is a twentieth, and mistyped words rarely differ in their first letter.
    """
    lengths = [len(word) + more for word in words if (edits := typos.edits(word)) for more in (-edits, edits)]
    if not lengths:
        return []
    letters = sorted({word[0] for word in words if typos.edits(word)})
    ranges = [bound for letter in letters for bound in (letter, letter + LAST_CHARACTER)]
    with connection.cursor() as cursor:
        sql = _beginning_alike_sql(connection.vendor, len(letters))
        cursor.execute(sql, (vocabulary, *ranges, min(lengths), max(lengths)))
        (joined,) = cursor.fetchone()
    return joined.split(" ") if joined else []


@lru_cache(maxsize=32)
def _beginning_alike_sql(vendor: str, letters: int) -> str:
    join = "string_agg" if vendor == "postgresql" else "group_concat"
    table = SearchWord._meta.db_table
    ranges = " OR ".join(["(word >= %s AND word < %s)"] * letters)
    return (
        f"SELECT {join}(word, ' ') FROM {table} "  # noqa: S608  names of ours
        f"WHERE vocabulary = %s AND ({ranges}) AND length(word) BETWEEN %s AND %s"
    )


@lru_cache(maxsize=2)
def _similar_length_sql(vendor: str) -> str:
    join = "string_agg" if vendor == "postgresql" else "group_concat"
    table = SearchWord._meta.db_table
    return f"SELECT {join}(word, ' ') FROM {table} WHERE vocabulary = %s AND length(word) BETWEEN %s AND %s"  # noqa: S608
