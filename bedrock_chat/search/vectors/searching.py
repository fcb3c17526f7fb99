"""The passages whose vectors are nearest to a question's.

Up to EXACT visible vectors are compared as they are. Above, signs find a few hundred that may be the nearest, and their
bytes put these into order: against exact numbers the first ten are 98 to 99 % the same.

What computes is imported where it is used: numpy costs a process that never searches 15 MB and a tenth of a second.
"""

from collections.abc import Collection, Sequence
from typing import Final

import orjson
from django.db import connection

from bedrock_chat.search.vectors.models import Vector, VectorBits, VectorIndex

EXACT: Final = 2_000
RESCORED: Final = 400
"""The fewest that signs find."""
VECTORS_FOR_EACH: Final = 1_000
"""Signs find one for so many vectors: among more of them, more are as near by their signs alone."""
NEAREST: Final = 200


def nearest(index: int, query: Sequence[float], *, limit: int = NEAREST) -> list[tuple[int, float]]:
    """Visible keys and their similarities (cosines), the most similar first. An index that is not there has none.

    Raises ValueError where the query has other dimensions than the index.
    """
    from bedrock_chat.search.vectors import cache, quantising  # noqa: PLC0415

    state = VectorIndex.objects.filter(index_id=index).values_list("version", "dimensions", "visible").first()
    if state is None or not state[2]:
        cache.shared().forget(index)
        return []
    version, dimensions, visible = state
    numbers = quantising.of_query(query, dimensions)
    if visible <= EXACT:
        groups = VectorBits.objects.filter(index_id=index, shown__isnull=False).values("group_id")
        rows = Vector.objects.filter(index_id=index, group_id__in=groups).values_list("key", "quantised")
        return quantising.ranked(numbers, list(rows), limit)
    snapshot = cache.shared().snapshot(index, version, dimensions)
    count = max(RESCORED, 2 * limit, visible // VECTORS_FOR_EACH)
    keys = snapshot.nearest(quantising.bits_of_query(numbers), count)
    return quantising.ranked(numbers, _vectors(index, keys), limit)


def similarities(index: int, query: Sequence[float], keys: Collection[int]) -> dict[int, float]:
    """The similarity of each of these keys that has a vector in the index, visible or not.

    Raises ValueError where the query has other dimensions than the index.
    """
    from bedrock_chat.search.vectors import quantising  # noqa: PLC0415

    dimensions = VectorIndex.objects.filter(index_id=index).values_list("dimensions", flat=True).first()
    if dimensions is None or not keys:
        return {}
    rows = _vectors(index, keys)
    return dict(quantising.ranked(quantising.of_query(query, dimensions), rows, len(rows)))


def _vectors(index: int, keys: Collection[int]) -> list[tuple[int, bytes | memoryview]]:
    """The vectors of these keys. The keys are one parameter: Django takes 4 ms to compose a statement of 400."""
    many = connection.vendor == "postgresql"
    chosen = "= ANY(%s)" if many else "IN (SELECT value FROM json_each(%s))"
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT key, quantised FROM {Vector._meta.db_table} WHERE index_id = %s AND key {chosen}",  # noqa: S608
            [index, list(keys) if many else orjson.dumps(list(keys)).decode()],
        )
        rows: list[tuple[int, bytes | memoryview]] = cursor.fetchall()
        return rows
