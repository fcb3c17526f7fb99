"""Finds passages by the words of a question."""

from typing import Any, Final

from django.db.models import QuerySet

from bedrock_chat.search.fusion import Words

MOST_CANDIDATES: Final = 200


def find(scope: int, query: str, live_groups: QuerySet[Any], *, total: int, limit: int = MOST_CANDIDATES) -> Words:
    """Passages within the scope, of groups that are among `live_groups`, by the words of a query, the best first.

    `live_groups` is a queryset of rows whose primary keys are groups. `total` is the number of their passages.
    """
    raise NotImplementedError
