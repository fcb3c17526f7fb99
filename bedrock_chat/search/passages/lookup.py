"""Reads the index of words, within one scope: how many passages hold something, and which ones.

Every expression holds the scope's own token, so that the databases' indexes touch its passages alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from django.db import connection
from django.db.models import QuerySet
from django.db.models.expressions import RawSQL

from bedrock_chat.search.lookup import INDEX, all_of, any_of, quoted
from bedrock_chat.search.models import SearchDocument
from bedrock_chat.search.passages.indexing import sample_mark, scope_mark
from bedrock_chat.search.query import Phrase, Term

MOST_OF_PHRASE: Final = 1_000
"""Passages with all words of a phrase that are read to see whether they stand in its order."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage that holds a word of the query; `words` are all of its words, in their order."""

    id: int
    key: int
    words: str


def expression(scope: int, term: Term) -> str:
    """What passages of the scope have to hold for a term: all words of one of its alternatives."""
    alternatives = [all_of(quoted(token) for token in dict.fromkeys(phrase.tokens)) for phrase in term.alternatives]
    return all_of([quoted(scope_mark(scope)), any_of(alternatives)])


def sample_expression(scope: int, term: Term) -> str:
    """The same, of the sample. One list of the index answers it, where `expression` takes two to be compared."""
    return any_of(
        all_of(quoted(sample_mark(scope, token)) for token in dict.fromkeys(phrase.tokens))
        for phrase in term.alternatives
    )


def counts(expressions: Sequence[str], most: int) -> list[int]:
    """How many passages each expression finds, of any group, counted up to `most`. Their words are not read."""
    if not expressions:
        return []
    with connection.cursor() as cursor:
        parameters = [value for text in expressions for value in (text, most)]
        cursor.execute(_counts_sql(connection.vendor, len(expressions)), parameters)
        return list(cursor.fetchone())


class LiveGroups:
    """Which groups a search may find: rows of the app's, told by their primary keys."""

    def __init__(self, rows: QuerySet[Any]) -> None:
        """Raises EmptyResultSet where there can be none."""
        self.sql, self.parameters = (
            rows.order_by().filter(pk=RawSQL("documents.group_id", ())).values("pk").query.sql_with_params()
        )


def passages(text: str, live: LiveGroups, most: int) -> list[Passage]:
    """Passages of live groups that an expression finds, at most so many, in no order that means anything."""
    with connection.cursor() as cursor:
        cursor.execute(_passages_sql(connection.vendor, live.sql), [text, *live.parameters, most])
        return [Passage(*row) for row in cursor.fetchall()]


def holding(scope: int, phrase: Phrase, live: LiveGroups, most: int) -> list[Passage]:
    """Passages of live groups that hold the phrase, in its order, up to `most`; none where all its words are frequent.

    Of a single word no order has to be read.
    """
    text = expression(scope, Term((phrase,)))
    if len(phrase.tokens) == 1:
        return passages(text, live, most)
    if counts([text], MOST_OF_PHRASE + 1)[0] > MOST_OF_PHRASE:
        return []
    with connection.cursor() as cursor:
        parameters = [text, phrase.needle, *live.parameters, most]
        cursor.execute(_holding_sql(connection.vendor, live.sql), parameters)
        return [Passage(*row) for row in cursor.fetchall()]


# ---- The two languages ----------------------------------------------------------------------------------------------

_DOCUMENTS: Final = SearchDocument._meta.db_table
_MATCHES: Final = "bedrock_chat_search_terms({0}terms, {0}words) @@ %s::tsquery"


@lru_cache(maxsize=256)
def _counts_sql(vendor: str, expressions: int) -> str:
    one = (
        f"SELECT FROM {_DOCUMENTS} WHERE {_MATCHES.format('')} LIMIT %s"
        if vendor == "postgresql"
        else f"SELECT rowid FROM {INDEX} WHERE {INDEX} MATCH %s LIMIT %s"  # noqa: S608
    )
    return "SELECT " + ", ".join([f"(SELECT count(*) FROM ({one}) AS matches)"] * expressions)  # noqa: S608


@lru_cache(maxsize=16)
def _passages_sql(vendor: str, live: str) -> str:
    return f"{_matching(vendor)} AND EXISTS ({live}) LIMIT %s"


@lru_cache(maxsize=16)
def _holding_sql(vendor: str, live: str) -> str:
    place = "strpos" if vendor == "postgresql" else "instr"
    return f"{_matching(vendor)} AND {place}(' ' || documents.words || ' ', %s) > 0 AND EXISTS ({live}) LIMIT %s"


def _matching(vendor: str) -> str:
    columns = "documents.id, documents.key, documents.words"
    if vendor == "postgresql":
        return f"SELECT {columns} FROM {_DOCUMENTS} AS documents WHERE {_MATCHES.format('documents.')}"  # noqa: S608
    # CROSS JOIN tells SQLite to ask the index first, and to stop where there are enough.
    return (
        f"SELECT {columns} FROM {INDEX} CROSS JOIN {_DOCUMENTS} AS documents "  # noqa: S608
        f"ON documents.id = {INDEX}.rowid WHERE {INDEX} MATCH %s"
    )
