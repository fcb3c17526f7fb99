"""Reading the index: which documents a query may mean, by one boolean expression in the language of each database.

Both indexes hold bare tokens, without places: that tokens follow one another is seen in a document's words, which
ranking reads anyway. Who may see a document is a token like any other, so that a caller's own documents are all that a
query touches, whatever others have written.
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
NEWEST_HEADINGS: Final = 200
FEWEST_PER_TERM: Final = 20
"""Of more documents that answer a query these are ranked: ranking reads their words."""


def scope_mark(kind: str, scope: str) -> str:
    """The token of a scope. No word holds a colon."""
    return ":" + hashlib.blake2b(f"{kind}\0{scope}".encode(), digest_size=8).hexdigest()


def candidates(kind: str, scopes: Sequence[str], terms: Sequence[Term], *, every: bool) -> list[Candidate]:
    """Documents within the scopes that hold all terms, or (not `every`) any of them; the newest where there are many.

    Headings are looked for on their own, and so is each of any terms, so that what is frequent hides nothing.
    """
    marks = _any(_quoted(scope_mark(kind, scope)) for scope in scopes)
    asked = [
        _any(_all(_quoted(token) for token in dict.fromkeys(phrase.tokens)) for phrase in term.alternatives)
        for term in terms
    ]
    if every:
        whole = _all([marks, *asked])
        searches = [(whole, NEWEST), (_all([whole, _quoted(HEADING_MARK)]), NEWEST_HEADINGS)]
    else:
        limit = max(FEWEST_PER_TERM, NEWEST // len(asked))
        headings = _all([marks, _quoted(HEADING_MARK), _any(asked)])
        searches = [*((_all([marks, one]), limit) for one in asked), (headings, NEWEST_HEADINGS)]
    with connection.cursor() as cursor:
        cursor.execute(_sql(connection.vendor, len(searches)), [value for search in searches for value in search])
        return [Candidate(*row) for row in cursor.fetchall()]


# ---- The two languages ----------------------------------------------------------------------------------------------


def _quoted(token: str) -> str:
    """A token holds letters, digits and marks alone, so that nothing in it needs to be escaped."""
    return f"'{token}'" if connection.vendor == "postgresql" else f'"{token}"'


def _all(parts: Iterable[str]) -> str:
    return f"({(' & ' if connection.vendor == 'postgresql' else ' AND ').join(parts)})"


def _any(parts: Iterable[str]) -> str:
    return f"({(' | ' if connection.vendor == 'postgresql' else ' OR ').join(parts)})"


@lru_cache(maxsize=128)
def _sql(vendor: str, searches: int) -> str:
    table = SearchDocument._meta.db_table
    if vendor == "postgresql":
        # Without its fence the planner may walk the table from its newest row, hoping to meet enough on the way.
        matching = f"SELECT id FROM {table} WHERE bedrock_chat_search_terms(terms, words) @@ %s::tsquery"  # noqa: S608
        one = f"WITH found AS MATERIALIZED ({matching}) SELECT id FROM found ORDER BY id DESC LIMIT %s"  # noqa: S608
    else:
        one = f"SELECT rowid FROM {INDEX} WHERE {INDEX} MATCH %s ORDER BY rowid DESC LIMIT %s"  # noqa: S608
    ids = " UNION ".join([f"SELECT * FROM ({one}) AS newest"] * searches)  # noqa: S608  names of ours, all of them
    return f"SELECT id, group_id, key, words FROM {table} WHERE id IN ({ids})"  # noqa: S608
