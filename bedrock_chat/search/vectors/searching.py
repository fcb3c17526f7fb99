"""The passages whose vectors are nearest to a question's.

Up to EXACT visible vectors are compared as they are. Above, signs find the nearest RESCORED, and their bytes put these
into order: against exact numbers the first ten are 99.5 % the same.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Final

import numpy as np

from bedrock_chat.search.vectors import cache, quantising
from bedrock_chat.search.vectors.models import Vector, VectorBits, VectorIndex
from bedrock_chat.search.vectors.quantising import Floats

EXACT: Final = 2_000
RESCORED: Final = 400
NEAREST: Final = 200


def nearest(index: int, query: Sequence[float], *, limit: int = NEAREST) -> list[tuple[int, float]]:
    """Visible keys and their similarities (cosines), the most similar first. An index that is not there has none.

    Raises ValueError where the query has other dimensions than the index.
    """
    state = VectorIndex.objects.filter(index_id=index).values_list("version", "dimensions", "visible").first()
    if state is None or not state[2]:
        cache.shared().forget(index)
        return []
    version, dimensions, visible = state
    numbers = _numbers(query, dimensions)
    vectors = Vector.objects.filter(index_id=index)
    if visible <= EXACT:
        groups = VectorBits.objects.filter(index_id=index, shown__isnull=False).values("group_id")
        vectors = vectors.filter(group_id__in=groups)
    else:
        snapshot = cache.shared().snapshot(index, version, dimensions)
        signs = quantising.bits_of_query(numbers)
        vectors = vectors.filter(key__in=snapshot.nearest(signs, max(RESCORED, 2 * limit)))
    return _ranked(numbers, vectors.values_list("key", "quantised"))[:limit]


def similarities(index: int, query: Sequence[float], keys: Collection[int]) -> dict[int, float]:
    """The similarity of each of these keys that has a vector in the index, visible or not.

    Raises ValueError where the query has other dimensions than the index.
    """
    dimensions = VectorIndex.objects.filter(index_id=index).values_list("dimensions", flat=True).first()
    if dimensions is None or not keys:
        return {}
    rows = Vector.objects.filter(index_id=index, key__in=keys).values_list("key", "quantised")
    return dict(_ranked(_numbers(query, dimensions), rows))


def _numbers(query: Sequence[float], dimensions: int) -> Floats:
    if len(query) != dimensions:
        raise ValueError(f"A query of {len(query)} numbers in an index of {dimensions}.")
    return quantising.unit(query)


def _ranked(query: Floats, rows: Iterable[tuple[int, bytes]]) -> list[tuple[int, float]]:
    """Keys and similarities, the most similar first; of equal ones the smaller key."""
    keys, packed = zip(*rows, strict=True) if (rows := list(rows)) else ((), ())
    if not keys:
        return []
    products = quantising.similarities(query, packed)
    order = np.lexsort((np.array(keys), -products))
    return [(keys[place], float(products[place])) for place in order]
