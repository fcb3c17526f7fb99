"""Vectors in the database: what a search sees of them, and what is left when they are removed."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from bedrock_chat.search.vectors import cache, purging, quantising, searching, writing
from bedrock_chat.search.vectors.models import Vector, VectorBits, VectorIndex

pytestmark = [pytest.mark.django_db, pytest.mark.both]

MODELS = (Vector, VectorBits, VectorIndex)
Make = Callable[[int], list[float]]


@pytest.fixture(autouse=True)
def nothing_in_memory() -> Iterator[None]:
    cache.shared().clear()
    yield
    cache.shared().clear()


@pytest.fixture(params=["exact", "by bits"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of searching: few vectors are compared as they are, many by their bits first."""
    if request.param == "by bits":
        monkeypatch.setattr(searching, "EXACT", 0)
    return request.param


def vector(key: int) -> list[float]:
    """The same one for the same key, and far from all others."""
    numbers: list[float] = np.random.default_rng(key).standard_normal(128).tolist()
    return numbers


def write(index: int, group: int, *keys: int, shown: bool = True) -> None:
    writing.write(index, group, [(key, vector(key)) for key in keys])
    if shown:
        writing.publish(index, show=[group])


def keys_near(index: int, key: int) -> list[int]:
    return [nearest for nearest, _ in searching.nearest(index, vector(key))]


def rows() -> list[int]:
    return [model.objects.count() for model in MODELS]


def test_a_group_is_found_once_it_is_shown(way: str) -> None:
    write(1, 10, 101, 102, shown=False)
    assert keys_near(1, 101) == []
    writing.publish(1, show=[10])
    ((first, similarity), *_) = searching.nearest(1, vector(102))
    assert (first, similarity) == (102, pytest.approx(1, abs=0.01))
    write(1, 11, 103, shown=False)
    assert sorted(keys_near(1, 103)) == [101, 102]


def test_a_new_reading_takes_the_place_of_the_old_one_at_once(way: str) -> None:
    write(1, 10, 101, 102)
    write(1, 11, 103, shown=False)
    assert keys_near(1, 103)[0] != 103
    writing.publish(1, show=[11], hide=[10])
    assert keys_near(1, 101) == [103]


def test_batches_of_a_group_become_one_row(way: str) -> None:
    write(1, 10, 101, 102, shown=False)
    write(1, 10, 103, shown=False)
    writing.join(1, 10)
    writing.join(1, 10)
    assert list(VectorBits.objects.values_list("count", flat=True)) == [3]
    writing.publish(1, show=[10])
    assert [keys_near(1, key)[0] for key in (101, 102, 103)] == [101, 102, 103]


def test_an_index_never_sees_another_ones_vectors(way: str) -> None:
    for index in (1, 2, 3):
        for group in (1, 2):  # the same numbers of groups and the same vectors in every index
            writing.write(index, group, [(index * 100 + group * 10 + n, vector(n)) for n in range(4)])
            writing.publish(index, show=[group])
    for _ in range(2):  # read, then from memory
        for index in (1, 2, 3):
            assert {key // 100 for key in keys_near(index, 1)} == {index}
    assert searching.similarities(1, vector(1), [111, 211, 311]).keys() == {111}
    writing.publish(2, hide=[1])
    assert len(keys_near(1, 1)) == len(keys_near(3, 1)) == 8
    assert {key // 10 for key in keys_near(2, 1)} == {22}
    assert not purging.purge(3, [1, 2])
    assert (len(keys_near(1, 1)), keys_near(3, 1)) == (8, [])


def test_the_same_key_may_have_a_vector_of_each_model() -> None:
    write(1, 10, 101)
    writing.write(2, 10, [(101, [1.0, -1.0] * 32)])
    writing.publish(2, show=[10])
    assert keys_near(1, 101) == [101]
    assert searching.nearest(2, [1.0, -1.0] * 32) == [(101, pytest.approx(1, abs=0.01))]


def test_every_statement_names_its_index(way: str) -> None:
    """So no mistake in a group or a key reaches the rows of another bot."""
    with CaptureQueriesContext(connection) as queries:
        write(1, 10, 101, 102, shown=False)
        writing.copy(1, 11, [(101, 201)])
        writing.join(1, 10)
        writing.publish(1, show=[10], hide=[11])
        keys_near(1, 101)
        searching.similarities(1, vector(1), [101])
        purging.purge(1, [11])
        purging.purge_index(1)
    statements = [query["sql"] for query in queries if "bedrock_chat_vector" in query["sql"]]
    assert len(statements) > 15
    for statement in statements:
        verb, _, condition = statement.partition(" WHERE ")
        assert "index_id" in (verb if "INSERT" in verb else condition), statement


def test_who_knows_a_version_reads_nothing_again(way: str) -> None:
    write(1, 10, *range(100, 120))
    keys_near(1, 101)
    with CaptureQueriesContext(connection) as queries:
        keys_near(1, 102)
    assert len(queries) == 2
    assert any("vectorbits" in query["sql"] for query in queries) == (way == "exact")


def test_memory_reads_only_what_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "EXACT", 0)
    for group in range(10, 15):
        write(1, group, *range(group * 10, group * 10 + 5))
    keys_near(1, 100)
    write(1, 15, 150, 151)
    writing.publish(1, hide=[12])
    last = VectorBits.objects.get(group_id=15).pk
    with CaptureQueriesContext(connection) as queries:
        assert keys_near(1, 151)[0] == 151
    (reading,) = [query["sql"] for query in queries if '"bits"' in query["sql"]]
    assert f"IN ({last})" in reading
    assert not {*range(120, 125)} & {*keys_near(1, 120)}


def test_a_row_that_was_hidden_and_shown_again_is_found_again(way: str) -> None:
    write(1, 10, 101)
    write(1, 11, 102)
    keys_near(1, 101)
    writing.publish(1, hide=[10])
    writing.publish(1, show=[10])
    assert keys_near(1, 101) == [101, 102]


def test_versions_never_come_back() -> None:
    write(1, 10, 101)
    versions = {VectorIndex.objects.get().version}
    for change in (
        partial(writing.publish, 1, hide=[10]),
        partial(writing.publish, 1, show=[10]),
        partial(purging.purge, 1, [10]),
    ):
        change()
        versions.add(VectorIndex.objects.get().version)
    assert len(versions) == 4
    write(1, 11, 102, shown=False)
    writing.publish(1, show=[99], hide=[98])
    assert VectorIndex.objects.get().version in versions  # nothing visible has changed


def test_what_is_rolled_back_is_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "EXACT", 0)
    write(1, 10, 101)
    with transaction.atomic():
        write(1, 11, 102)
        assert keys_near(1, 102)[0] == 102
        transaction.set_rollback(True)
    write(1, 12, 103)
    assert sorted(keys_near(1, 102)) == [101, 103]


def test_an_unchanged_passage_keeps_its_vector(way: str) -> None:
    write(1, 10, 101, 102)
    assert writing.copy(1, 11, [(102, 202), (999, 299)]) == {202}
    writing.publish(1, show=[11], hide=[10])
    assert searching.nearest(1, vector(102)) == [(202, pytest.approx(1, abs=0.01))]
    assert writing.copy(2, 20, [(202, 302)], from_index=1) == {302}
    assert writing.copy(2, 21, [(202, 303)]) == set()


def test_packed_vectors_are_written_as_they_are() -> None:
    (packed,) = quantising.quantise([vector(7)])
    writing.write(1, 10, [(7, packed), (8, vector(8))])
    assert bytes(Vector.objects.get(key=7).quantised) == packed
    writing.publish(1, show=[10])
    assert keys_near(1, 7)[0] == 7


def test_what_does_not_fit_an_index_is_refused() -> None:
    write(1, 10, 101)
    with pytest.raises(ValueError, match="A vector of 64 numbers in an index of 128"):
        writing.write(1, 10, [(102, [1.0] * 64)])
    with pytest.raises(ValueError, match="A query of 64 numbers in an index of 128"):
        searching.nearest(1, [1.0] * 64)
    with pytest.raises(IntegrityError), transaction.atomic():
        writing.write(1, 11, [(101, vector(101))])


def test_purging_ends_at_zero_rows_a_bounded_number_at_a_time(way: str) -> None:
    write(1, 10, *range(100, 125))
    write(1, 11, 200)
    write(2, 10, *range(300, 303))
    assert purging.purge(1, [10], most=10)
    assert keys_near(1, 101) == [200]  # gone at once, whatever is left of its rows
    assert Vector.objects.filter(index_id=1).count() == 16
    assert purging.purge(1, [10], most=10)
    assert not purging.purge(1, [10], most=10)
    assert rows() == [4, 2, 2]
    assert VectorIndex.objects.get(index_id=1).visible == 1
    while purging.purge_index(1, most=2):
        pass
    while purging.purge_index(2, most=2):
        pass
    assert rows() == [0, 0, 0]
    assert keys_near(1, 101) == searching.nearest(9, vector(1)) == []
    assert not purging.purge_index(1)


def test_recall_is_that_of_exact_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = np.random.default_rng(5)
    centres = chance.standard_normal((20, 256))
    vectors = centres[chance.integers(0, 20, 3_000)] + chance.standard_normal((3_000, 256)) * 0.9
    for start in range(0, 3_000, 500):
        writing.write(
            1, start, list(zip(range(start, start + 500), vectors[start : start + 500].tolist(), strict=True))
        )
    writing.publish(1, show=range(0, 3_000, 500))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    shared = 0
    for query in centres[:10] + chance.standard_normal((10, 256)) * 0.5:
        exact = np.argsort(-(unit @ query))[:10].tolist()
        shared += len({*exact} & {key for key, _ in searching.nearest(1, query.tolist(), limit=10)})
    assert shared >= 98
