"""Removes vectors, a bounded number at a time."""

from collections.abc import Collection
from typing import Any, Final

from django.db import transaction
from django.db.models import F, Q, QuerySet

from bedrock_chat.search.vectors.models import Vector, VectorBits, VectorIndex
from bedrock_chat.search.vectors.writing import new_version

MOST: Final = 1_000
MOST_ROWS_OF_BITS: Final = 50
"""Of which each may be as large as a document's bits: 200 KB where it has 2,000,000 characters."""


def purge(index: int, groups: Collection[int], *, most: int = MOST) -> bool:
    """Removes vectors of these groups in the caller's transaction. True while there may be more: call it again.

    The bits go first, so that no search sees a group whose vectors are half gone. Name some hundred groups at most.
    """
    return bool(groups) and _purge(index, Q(group_id__in=groups), most)


def hide(index: int, groups: QuerySet[Any]) -> bool:
    """Has no search find vectors of these groups, which a query without rows in memory names, in the caller's
    transaction: it removes rows of their bits. The vectors stay until they are purged. True while there may be more.
    """
    with transaction.atomic():
        row = VectorIndex.objects.select_for_update().filter(index_id=index).first()
        return row is not None and _remove_bits(index, Q(group_id__in=groups))


def purge_index(index: int, *, most: int = MOST) -> bool:
    """Removes vectors of the index, at last the index itself. True while there may be more: call it again."""
    if _purge(index, Q(), most):
        return True
    VectorIndex.objects.filter(index_id=index).delete()
    return False


def _purge(index: int, which: Q, most: int) -> bool:
    """Removes rows of bits, then up to `most` vectors. True while there may be more."""
    with transaction.atomic():
        row = VectorIndex.objects.select_for_update().filter(index_id=index).first()
        if row is None:
            return False
        if _remove_bits(index, which):
            return True
        keys = list(Vector.objects.filter(which, index_id=index).values_list("key", flat=True)[:most])
        if keys:
            Vector.objects.filter(index_id=index, key__in=keys).delete()
        return len(keys) == most


def _remove_bits(index: int, which: Q) -> bool:
    """Removes some rows of bits of an index that is locked. True while there may be more."""
    bits = VectorBits.objects.filter(which, index_id=index)
    rows = list(bits.values_list("id", "shown", "count")[:MOST_ROWS_OF_BITS])
    if rows:
        VectorBits.objects.filter(index_id=index, id__in=[key for key, _, _ in rows]).delete()
    if visible := sum(count for _, shown, count in rows if shown is not None):
        VectorIndex.objects.filter(index_id=index).update(version=new_version(), visible=F("visible") - visible)
    return len(rows) == MOST_ROWS_OF_BITS
