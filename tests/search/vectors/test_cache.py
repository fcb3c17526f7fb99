"""Bits in memory: how many, for how long, and read by how many at once."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from django.db import connection

from bedrock_chat.database.connections import release_connection
from bedrock_chat.search.vectors import cache, quantising, searching, writing
from bedrock_chat.search.vectors.cache import BitsCache
from bedrock_chat.search.vectors.models import VectorIndex

pytestmark = [pytest.mark.django_db]

VECTOR_BYTES = 128 // 8 + 4


def fill(index: int, groups: int, size: int, start: int = 0) -> None:
    chance = np.random.default_rng(index)
    for group in range(start, start + groups):
        keys = range(index * 100_000 + group * size, index * 100_000 + (group + 1) * size)
        writing.write(index, group, [(key, chance.standard_normal(128).tolist()) for key in keys])
    writing.publish(index, show=range(start, start + groups))


def snapshot(bits: BitsCache, index: int) -> cache.Snapshot:
    return bits.snapshot(index, VectorIndex.objects.get(index_id=index).version, 128)


def test_what_was_searched_longest_ago_goes_first() -> None:
    for index in (1, 2, 3):
        fill(index, 2, 50)
    bits = BitsCache(most=2 * 100 * VECTOR_BYTES)
    first = snapshot(bits, 1)
    snapshot(bits, 2)
    assert snapshot(bits, 1) is first
    snapshot(bits, 3)
    assert bits.size == 2 * 100 * VECTOR_BYTES
    assert snapshot(bits, 1) is first
    assert len(bits) == 2
    assert len(snapshot(bits, 2).nearest(np.zeros(2, np.uint64), 1000)) == 100


def test_an_index_larger_than_memory_may_have_is_searched_and_not_kept() -> None:
    fill(1, 1, 50)
    bits = BitsCache(most=100)
    assert len(snapshot(bits, 1).nearest(np.zeros(2, np.uint64), 1000)) == 50
    assert bits.size == 0


def test_a_change_leaves_whole_segments_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "SEGMENT", 40)
    monkeypatch.setattr(cache, "READ_AT_ONCE", 25)
    fill(1, 9, 20)
    bits = BitsCache(most=1 << 20)
    before = snapshot(bits, 1)
    assert [len(segment.keys) for segment in before.segments] == [40, 40, 40, 40, 20]
    writing.publish(1, hide=[3])
    fill(1, 1, 20, start=9)
    after = snapshot(bits, 1)
    is_old = [any(segment is old for old in before.segments) for segment in after.segments]
    assert is_old == [True, True, True, True, False]
    keys = [int(key) for segment in after.segments for key in segment.keys]
    assert sorted(keys) == [100_000 + n for n in range(200) if n // 20 != 3]
    packed = dict(writing.Vector.objects.filter(index_id=1).values_list("key", "quantised"))
    for segment in after.segments:
        for key, own in zip(segment.keys, segment.bits, strict=True):
            assert own.tobytes() == quantising.bits_of([bytes(packed[int(key)])], 128)
    assert len(before.nearest(np.zeros(2, np.uint64), 1000)) == 180  # who reads the old one meanwhile reads on


def test_the_nearest_of_all_segments_are_those_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    fill(1, 9, 20)
    query = quantising.bits_of_query(quantising.unit(np.random.default_rng(4).standard_normal(128).tolist()))
    whole = snapshot(BitsCache(most=1 << 20), 1)
    monkeypatch.setattr(cache, "SEGMENT", 40)
    cut = snapshot(BitsCache(most=1 << 20), 1)
    assert [len(one.segments) for one in (whole, cut)] == [1, 5]
    for count in (1, 7, 30, 60, 179, 1000):
        assert cut.nearest(query, count) == whole.nearest(query, count)


def test_keys_that_need_more_than_32_bits_are_kept_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "SEGMENT", 40)
    keys = [[1, 2], [2**31 - 1, 3], [2**31, 4], [2**40, 2**40 + 1], [5, 6]]
    for group, own in enumerate(keys):
        writing.write(1, group, [(key, [1.0] * 128) for key in own])
    writing.publish(1, show=range(len(keys)))
    bits = BitsCache(most=1 << 20)
    assert sorted(snapshot(bits, 1).nearest(np.zeros(2, np.uint64), 1000)) == sorted(key for own in keys for key in own)
    writing.publish(1, hide=[1])
    assert sorted(snapshot(bits, 1).nearest(np.zeros(2, np.uint64), 1000)) == [1, 2, 4, 5, 6, 2**31, 2**40, 2**40 + 1]


@pytest.mark.django_db(transaction=True)
def test_many_searches_at_once_read_an_index_once(monkeypatch: pytest.MonkeyPatch) -> None:
    fill(1, 3, 20)
    monkeypatch.setattr(searching, "EXACT", 0)
    bits, reads = BitsCache(most=1 << 20), []
    all_here = threading.Barrier(4)
    version = VectorIndex.objects.get().version
    read = cache.read

    def counted(*arguments: object) -> cache.Snapshot:
        reads.append(arguments)
        return read(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(cache, "read", counted)

    def search() -> int:
        try:
            all_here.wait()
            return len(bits.snapshot(1, version, 128).nearest(np.zeros(2, np.uint64), 1000))
        finally:
            release_connection(final=connection.vendor != "sqlite")

    with ThreadPoolExecutor(4) as pool:
        assert [future.result() for future in [pool.submit(search) for _ in range(4)]] == [60] * 4
    assert len(reads) == 1
