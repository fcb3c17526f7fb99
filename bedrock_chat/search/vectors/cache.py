"""Bits of indexes in memory, for as long as they are used.

Whoever searches says which version of the index the database has now. Where memory has another one, the list of visible
rows is read, rows that memory lacks are read with their bits, and what is not visible any more is dropped. The process
holds up to KNOWLEDGE_CACHE_MB of bits; the indexes that were searched longest ago go first.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from threading import Lock
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from django.conf import settings

from bedrock_chat.metrics.instruments import Counter, Gauge
from bedrock_chat.search.vectors import quantising, scanning
from bedrock_chat.search.vectors.models import VectorBits
from bedrock_chat.search.vectors.quantising import Bits
from bedrock_chat.search.vectors.scanning import Distances

SEGMENT: Final = 65_536
"""Vectors of a segment, about. A change copies the segments that it touches."""
READ_AT_ONCE: Final = 8_192
"""Vectors whose bits one statement reads: a megabyte."""

SEARCHES = Counter(
    "bedrock_chat_knowledge_cache_searches_total",
    "Searches of bots with many passages: whose bits were in memory (kept), and for which some were read.",
    ("outcome",),
)
EVICTED = Counter(
    "bedrock_chat_knowledge_cache_evicted_total", "Bots whose bits left memory because others needed the room."
)

Keys = npt.NDArray[np.int64] | npt.NDArray[np.int32]
"""In 32 bits where they fit, as in all but very old databases."""
RowId = tuple[int, int]
"""A row of bits, and the version that showed it: a row that was hidden and shown again is another one."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Bits of some rows, one behind the other; `rows` says how many vectors each one has, in that order."""

    rows: Mapping[RowId, int]
    keys: Keys
    bits: Bits

    def without(self, gone: Collection[RowId]) -> Iterator["Segment"]:
        """Each row that stays, as a segment of its own."""
        start = 0
        for row, count in self.rows.items():
            if row not in gone:
                yield Segment({row: count}, self.keys[start : start + count], self.bits[start : start + count])
            start += count


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The visible vectors of an index, as they were at a version. It never changes, so many threads may read it."""

    version: int
    segments: tuple[Segment, ...]

    @property
    def size(self) -> int:
        """Bytes of keys and bits."""
        return sum(segment.keys.nbytes + segment.bits.nbytes for segment in self.segments)

    def nearest(self, query: Bits, count: int) -> list[int]:
        """The keys of the `count` vectors that differ from the query in the fewest signs, in no order.

        What of a segment is too far away in the segment itself is dropped at once: the distances of a million vectors
        would leave holes in memory.
        """
        if not self.segments:
            return []
        kept: list[tuple[Distances, Keys]] = []
        for segment in self.segments:
            differing = scanning.distances(segment.bits, query)
            places = scanning.nearest(differing, count)
            kept.append((differing[places], segment.keys[places]))
        nearest = scanning.nearest(np.concatenate([differing for differing, _ in kept]), count)
        keys: list[int] = np.concatenate([keys for _, keys in kept])[nearest].tolist()
        return keys


@dataclass(slots=True)
class _Entry:
    """The snapshot of an index, and the lock of who reads it: one at a time, the others wait and take what it read."""

    reading: Lock = field(default_factory=Lock)
    snapshot: Snapshot | None = None


class BitsCache:
    """The snapshots of a process, by index; up to `most` bytes stay."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = Lock()
        self._entries: OrderedDict[int, _Entry] = OrderedDict()

    def snapshot(self, index: int, version: int, dimensions: int) -> Snapshot:
        """The visible vectors of an index, whose version in the database is this one or was a moment ago."""
        with self._lock:
            entry = self._entries.setdefault(index, _Entry())
            self._entries.move_to_end(index)
        snapshot = entry.snapshot
        if snapshot is not None and snapshot.version == version:
            SEARCHES.add("kept")
            return snapshot
        SEARCHES.add("read")
        with entry.reading:
            snapshot = entry.snapshot
            if snapshot is None or snapshot.version != version:
                snapshot = read(index, version, dimensions, snapshot)
                entry.snapshot = snapshot
                self._evict(index, entry)
        return snapshot

    def forget(self, index: int) -> None:
        """Drops what is held of an index that is gone."""
        with self._lock:
            self._entries.pop(index, None)

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()

    @property
    def size(self) -> int:
        """Bytes of all snapshots."""
        with self._lock:
            return sum(entry.snapshot.size for entry in self._entries.values() if entry.snapshot)

    def __len__(self) -> int:
        return len(self._entries)

    def _evict(self, index: int, entry: _Entry) -> None:
        """Drops what was searched longest ago until the rest fits; also the one just read, if it alone is too large."""
        with self._lock:
            if self._entries.get(index) is not entry:  # forgotten, or evicted, while it was read
                return
            self._entries.move_to_end(index)
            total = sum(one.snapshot.size for one in self._entries.values() if one.snapshot)
            while total > self._most and self._entries:
                _, evicted = self._entries.popitem(last=False)
                total -= evicted.snapshot.size if evicted.snapshot else 0
                EVICTED.add()


def read(index: int, version: int, dimensions: int, old: Snapshot | None) -> Snapshot:
    """The visible vectors of an index now; what `old` has of them is not read again.

    1. List the rows that are visible.
    2. Keep the segments all of whose rows still are, unless they are small.
    3. Read the rows that memory lacks, and cut them and what is left of the other segments into new segments.

    A publication meanwhile may make what is read newer than `version`. Then the next search lists the rows again.
    """
    shown = VectorBits.objects.filter(index_id=index, shown__isnull=False).order_by("id")
    rows = shown.values_list("id", "shown", "count")
    visible: dict[RowId, int] = {(key, stamp): count for key, stamp, count in rows if stamp is not None}
    kept: list[Segment] = []
    pieces: list[Segment] = []
    missing = dict(visible)
    for segment in old.segments if old else ():
        gone = segment.rows.keys() - visible.keys()
        if gone or len(segment.keys) < SEGMENT // 2:
            pieces += segment.without(gone)
        else:
            kept.append(segment)
        for row in segment.rows:
            missing.pop(row, None)
    fresh = _read_rows(index, dimensions, missing)
    left = sum(len(piece.keys) for piece in pieces) + sum(missing.values())
    return Snapshot(version, (*kept, *_cut(chain(pieces, fresh), left, dimensions)))


def _read_rows(index: int, dimensions: int, missing: Mapping[RowId, int]) -> Iterator[Segment]:
    """Each of these rows as a segment of its own; one that was deleted meanwhile is left out."""
    for batch in _batches(missing):
        stamps = dict(batch)
        rows = VectorBits.objects.filter(index_id=index, id__in=stamps)
        for key, count, keys, bits in rows.values_list("id", "count", "keys", "bits"):
            yield Segment(
                {(key, stamps[key]): count},
                _as_keys(keys),
                quantising.as_bits(bytes(bits), dimensions),
            )


def _as_keys(stored: bytes | memoryview) -> Keys:
    keys = np.frombuffer(stored, dtype="<i8")
    return keys.astype(np.int32) if abs(keys).max() <= np.iinfo(np.int32).max else keys


def _batches(rows: Mapping[RowId, int]) -> Iterator[list[RowId]]:
    """Rows in portions of about READ_AT_ONCE vectors, and of at most 500 rows."""
    batch: list[RowId] = []
    vectors = 0
    for row, count in rows.items():
        if batch and (vectors + count > READ_AT_ONCE or len(batch) == 500):
            yield batch
            batch, vectors = [], 0
        batch.append(row)
        vectors += count
    if batch:
        yield batch


class _Making:
    """A segment in the making: up to `room` vectors, whose places are there from the beginning.

    So each row is let go when it is copied. Rows that wait for each other would leave memory in pieces, which the
    process keeps and can do little with: of a million vectors a tenth of their size.
    """

    def __init__(self, room: int, key_type: np.dtype[Any], dimensions: int) -> None:
        self._rows: dict[RowId, int] = {}
        self._keys: Keys = np.empty(room, dtype=key_type)
        self._bits: Bits = np.empty((room, dimensions // quantising.WORD), dtype=np.uint64)
        self._size = 0

    def has_room(self, row: Segment) -> bool:
        return self._size + len(row.keys) <= len(self._keys) and row.keys.dtype == self._keys.dtype

    def add(self, row: Segment) -> None:
        end = self._size + len(row.keys)
        self._keys[self._size : end], self._bits[self._size : end] = row.keys, row.bits
        self._rows |= row.rows
        self._size = end

    def segment(self) -> Segment:
        """What was added. Places that were not taken were never written to, and cost nothing."""
        return Segment(MappingProxyType(self._rows), self._keys[: self._size], self._bits[: self._size])


def _cut(rows: Iterable[Segment], left: int, dimensions: int) -> Iterator[Segment]:
    """Rows, which have up to `left` vectors, as few segments; each is copied, so that none keeps the memory of a larger
    one.
    """
    making: _Making | None = None
    for row in rows:
        if making is not None and not making.has_room(row):
            yield making.segment()
            making = None
        if making is None:
            making = _Making(min(max(SEGMENT, len(row.keys)), left), row.keys.dtype, dimensions)
        making.add(row)
        left -= len(row.keys)
    if making is not None:
        yield making.segment()


@lru_cache(maxsize=1)
def shared() -> BitsCache:
    """The process's own."""
    return BitsCache(settings.KNOWLEDGE_CACHE_MB * 1024 * 1024)


SIZE = Gauge(
    "bedrock_chat_knowledge_cache_bytes",
    "Bits of bots' passages that processes keep in memory.",
    read=lambda: float(shared().size),
)
