"""The passages whose vectors are nearest to a question's.

Up to EXACT visible vectors are compared as they are. Above, signs find the nearest RESCORED, and their bytes put these
into order: against exact numbers the first ten are 99.5 % the same.

What computes is imported where it is used: numpy costs a process that never searches 15 MB and a tenth of a second.
"""

from collections.abc import Collection, Sequence
from typing import Final

from bedrock_chat.search.vectors.models import Vector, VectorBits, VectorIndex

EXACT: Final = 2_000
RESCORED: Final = 400
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
    vectors = Vector.objects.filter(index_id=index)
    if visible <= EXACT:
        groups = VectorBits.objects.filter(index_id=index, shown__isnull=False).values("group_id")
        vectors = vectors.filter(group_id__in=groups)
    else:
        snapshot = cache.shared().snapshot(index, version, dimensions)
        signs = quantising.bits_of_query(numbers)
        vectors = vectors.filter(key__in=snapshot.nearest(signs, max(RESCORED, 2 * limit)))
    return quantising.ranked(numbers, list(vectors.values_list("key", "quantised")), limit)


def similarities(index: int, query: Sequence[float], keys: Collection[int]) -> dict[int, float]:
    """The similarity of each of these keys that has a vector in the index, visible or not.

    Raises ValueError where the query has other dimensions than the index.
    """
    from bedrock_chat.search.vectors import quantising  # noqa: PLC0415

    dimensions = VectorIndex.objects.filter(index_id=index).values_list("dimensions", flat=True).first()
    if dimensions is None or not keys:
        return {}
    rows = list(Vector.objects.filter(index_id=index, key__in=keys).values_list("key", "quantised"))
    return dict(quantising.ranked(quantising.of_query(query, dimensions), rows, len(rows)))
