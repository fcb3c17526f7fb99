"""Writes vectors out of sight, and makes groups of them visible.

An unfinished group is as if it were not there: searches look at rows of bits that are shown. So a document's vectors
are written in as many transactions as they need, and one of a few rows shows them all and hides the old ones.
"""

import secrets
from collections.abc import Collection, Sequence
from typing import Final

from django.db import connection, transaction
from django.db.models import Exists, F, OuterRef, QuerySet, Sum

from bedrock_chat.search.vectors.models import Vector, VectorBits, VectorIndex

Quantisable = Sequence[float] | bytes
"""A vector as a model gives it, or as `quantising.quantise` has packed it, outside the transaction."""

_KEY_BYTES: Final = 8


def write(index: int, group: int, vectors: Sequence[tuple[int, Quantisable]]) -> None:
    """Writes a batch of vectors, by key, out of sight, in the caller's transaction.

    Raises ValueError where a vector has other dimensions than the index, which takes those of its first vector, and
    IntegrityError where the index has a vector of one of the keys.
    """
    if not vectors:
        return
    from bedrock_chat.search.vectors import quantising  # noqa: PLC0415  numpy is loaded where vectors are

    packed = _packed([vector for _, vector in vectors])
    dimensions = quantising.dimensions_of(packed[0])
    row, _ = VectorIndex.objects.get_or_create(
        index_id=index, defaults={"version": new_version(), "dimensions": dimensions}
    )
    wrong = {quantising.dimensions_of(vector) for vector in packed} - {row.dimensions}
    if wrong:
        raise ValueError(f"A vector of {wrong.pop()} numbers in an index of {row.dimensions}.")
    keys = [key for key, _ in vectors]
    _insert(index, group, keys, packed)
    VectorBits.objects.create(
        index_id=index,
        group_id=group,
        count=len(keys),
        keys=b"".join(key.to_bytes(_KEY_BYTES, "little", signed=True) for key in keys),
        bits=quantising.bits_of(packed, row.dimensions),
    )


def copy(index: int, group: int, keys: Sequence[tuple[int, int]], *, from_index: int | None = None) -> set[int]:
    """Gives new keys the vectors of old ones, (from, to), out of sight. Returns the new keys that have got one.

    At most a batch at a time. `from_index` is the index itself, unless it is another one of the same model.
    """
    old_keys = {old for old, _ in keys}
    rows = Vector.objects.filter(index_id=index if from_index is None else from_index, key__in=old_keys)
    packed = {key: bytes(quantised) for key, quantised in rows.values_list("key", "quantised")}
    copies = [(new, packed[old]) for old, new in keys if old in packed]
    write(index, group, copies)
    return {new for new, _ in copies}


def exists(index: int, key: str) -> Exists:
    """The condition of a query that the index has a vector, shown or not, of the key that this column holds."""
    return Exists(Vector.objects.filter(index_id=index, key=OuterRef(key)))


def join(index: int, group: int) -> None:
    """Makes the rows of bits of a group, which is out of sight, one row. Doing it again does nothing."""
    with transaction.atomic():
        rows = list(VectorBits.objects.filter(index_id=index, group_id=group, shown=None).order_by("id"))
        if len(rows) < 2:
            return
        VectorBits.objects.filter(index_id=index, id__in=[row.id for row in rows]).delete()
        VectorBits.objects.create(
            index_id=index,
            group_id=group,
            count=sum(row.count for row in rows),
            keys=b"".join(bytes(row.keys) for row in rows),
            bits=b"".join(bytes(row.bits) for row in rows),
        )


def publish(index: int, *, show: Collection[int] = (), hide: Collection[int] = ()) -> None:
    """Makes groups visible and others invisible, in the caller's transaction: a row for each group that was joined.

    The vectors of a group that is hidden stay until they are purged. Groups without vectors are left alone.
    """
    with transaction.atomic():
        row = VectorIndex.objects.select_for_update().filter(index_id=index).first()
        if row is None:
            return
        hidden = VectorBits.objects.filter(index_id=index, group_id__in=hide, shown__isnull=False)
        shown = VectorBits.objects.filter(index_id=index, group_id__in=show, shown=None)
        fewer, more = _count(hidden), _count(shown)
        if not fewer and not more:
            return
        version = new_version()
        hidden.update(shown=None)
        shown.update(shown=version)
        VectorIndex.objects.filter(index_id=index).update(version=version, visible=F("visible") + more - fewer)


def new_version() -> int:
    """A number that no version of an index has had."""
    return secrets.randbits(63)


def _count(rows: QuerySet[VectorBits]) -> int:
    count: int | None = rows.aggregate(total=Sum("count"))["total"]
    return count or 0


def _packed(vectors: Sequence[Quantisable]) -> list[bytes]:
    """All vectors packed, those that are not yet."""
    from bedrock_chat.search.vectors import quantising  # noqa: PLC0415

    unpacked = [vector for vector in vectors if not isinstance(vector, bytes)]
    fresh = iter(quantising.quantise(unpacked))
    return [vector if isinstance(vector, bytes) else next(fresh) for vector in vectors]


def _insert(index: int, group: int, keys: Sequence[int], packed: Sequence[bytes]) -> None:
    """Inserts vectors by a plain statement: rows of Django's would take longer than the database."""
    table = Vector._meta.db_table
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                f"INSERT INTO {table} (index_id, group_id, key, quantised) "  # noqa: S608  names of ours
                "SELECT %s, %s, * FROM unnest(%s::bigint[], %s::bytea[])",
                [index, group, list(keys), list(packed)],
            )
        else:
            cursor.executemany(
                f"INSERT INTO {table} (index_id, group_id, key, quantised) VALUES (%s, %s, %s, %s)",  # noqa: S608
                [(index, group, key, vector) for key, vector in zip(keys, packed, strict=True)],
            )
