"""Reads the index: the documents that may match a query, by boolean expressions in the language of each database.

Both indexes hold bare tokens, without positions: ranking sees from a document's words, which it reads anyway, whether
tokens follow one another. Who may see a document is a token like any other, so that a query touches only the caller's
own documents, whatever others have written.
"""

import hashlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from django.db import connection

from bedrock_chat.search.models import SearchDocument
from bedrock_chat.search.query import Term
from bedrock_chat.search.ranking import Candidate

HEADING_MARK: Final = ":heading"
INDEX: Final = "bedrock_chat_searchindex"
"""SQLite's full-text table."""

NEWEST: Final = 500
"""Documents that are ranked, the newest: ranking reads their words."""
NEWEST_HEADINGS: Final = 200
"""Headings that are ranked besides."""
FEWEST_PER_TERM: Final = 20
"""Where the terms of a query share NEWEST, each term has at least as many documents."""


def scope_mark(kind: str, scope: str) -> str:
    """The token of a scope. It has a colon, which no word has."""
    return ":" + hashlib.blake2b(f"{kind}\0{scope}".encode(), digest_size=8).hexdigest()


def candidates(kind: str, scopes: Sequence[str], terms: Sequence[Term], *, every: bool) -> list[Candidate]:
    """Documents within the scopes that hold all terms, or (not `every`) any of them; the newest where there are many.

    Headings have a search of their own, and without `every` each term has one, so that frequent words hide no others.
    """
    marks = any_of(quoted(scope_mark(kind, scope)) for scope in scopes)
    expressions = [
        any_of(all_of(quoted(token) for token in dict.fromkeys(phrase.tokens)) for phrase in term.alternatives)
        for term in terms
    ]
    if every:
        all_terms = all_of([marks, *expressions])
        searches = [(all_terms, NEWEST), (all_of([all_terms, quoted(HEADING_MARK)]), NEWEST_HEADINGS)]
    else:
        limit = max(FEWEST_PER_TERM, NEWEST // len(expressions))
        headings = all_of([marks, quoted(HEADING_MARK), any_of(expressions)])
        searches = [*((all_of([marks, term]), limit) for term in expressions), (headings, NEWEST_HEADINGS)]
    with connection.cursor() as cursor:
        cursor.execute(_sql(connection.vendor, len(searches)), [value for search in searches for value in search])
        return [Candidate(*row) for row in cursor.fetchall()]


# ---- The two languages ----------------------------------------------------------------------------------------------


def quoted(token: str) -> str:
    """The token in quotes. A token holds letters, digits and marks alone, so nothing in it needs to be escaped."""
    return f"'{token}'" if connection.vendor == "postgresql" else f'"{token}"'


def all_of(parts: Iterable[str]) -> str:
    return f"({(' & ' if connection.vendor == 'postgresql' else ' AND ').join(parts)})"


def any_of(parts: Iterable[str]) -> str:
    return f"({(' | ' if connection.vendor == 'postgresql' else ' OR ').join(parts)})"


@lru_cache(maxsize=128)
def _sql(vendor: str, searches: int) -> str:
    table = SearchDocument._meta.db_table
    if vendor == "postgresql":
        # Without MATERIALIZED the planner may walk the table from its newest row, hoping to meet enough matches soon.
        matching = f"SELECT id FROM {table} WHERE bedrock_chat_search_terms(terms, words) @@ %s::tsquery"  # noqa: S608
        search = f"WITH matches AS MATERIALIZED ({matching}) SELECT id FROM matches ORDER BY id DESC LIMIT %s"  # noqa: S608
    else:
        search = f"SELECT rowid FROM {INDEX} WHERE {INDEX} MATCH %s ORDER BY rowid DESC LIMIT %s"  # noqa: S608
    ids = " UNION ".join([f"SELECT * FROM ({search}) AS newest"] * searches)  # noqa: S608  names of ours, all of them
    return f"SELECT id, group_id, key, words FROM {table} WHERE id IN ({ids})"  # noqa: S608
