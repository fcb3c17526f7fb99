"""Lists of many rows that are searched for a whole id, in whichever column has it."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from django.db.models import Q, QuerySet
from django.http import HttpRequest

from bedrock_chat.console.filters import Condition, matching
from bedrock_chat.console.key_paging import KeyPagedReadOnlyAdmin

_COLUMNS: Final = "columns_of_ids"
"""The attribute of a request that remembers in which column an id was: a page asks several times."""


class IdSearchedAdmin(KeyPagedReadOnlyAdmin):
    """`id_columns` have an index each; what is in none of them is looked for in `other_id_column`.

    `indexed` says how rows are found by a column not all of whose values are in one index.
    """

    id_columns: ClassVar[tuple[str, ...]]
    other_id_column: ClassVar[str]
    indexed: ClassVar[Mapping[str, Condition]] = {}

    def is_indexed_search(self, request: HttpRequest, search_term: str) -> bool:
        return self._column_of(request, search_term) is not None

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        if not search_term:
            return queryset, False
        column = self._column_of(request, search_term) or self.other_id_column
        return matching(request, queryset, column, search_term, self.indexed.get(column)), False

    def _column_of(self, request: HttpRequest, value: str) -> str | None:
        """The first column with an index that has the value."""
        known: dict[str, str | None] = request.__dict__.setdefault(_COLUMNS, {})
        if value not in known:
            rows = self.model._default_manager.all()
            conditions = ((name, self._condition(name, value)) for name in self.id_columns)
            known[value] = next((name for name, condition in conditions if rows.filter(condition).exists()), None)
        return known[value]

    def _condition(self, column: str, value: str) -> Q:
        return self.indexed[column](value) if column in self.indexed else Q(**{column: value})
