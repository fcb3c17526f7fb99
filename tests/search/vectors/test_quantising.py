"""Vectors as bytes and bits: how near they stay to what they were."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bedrock_chat.search.vectors import quantising, scanning

numbers = st.floats(-1e6, 1e6, width=32)
matrices = arrays.arrays(np.float32, st.tuples(st.integers(1, 6), st.sampled_from([64, 128, 1024])), elements=numbers)


@settings(max_examples=60, deadline=None)
@given(matrices)
def test_every_number_stays_within_its_scale(vectors: quantising.Floats) -> None:
    dimensions = vectors.shape[1]
    exact = quantising.units(vectors)
    again = quantising.floats_of(quantising.quantise(vectors), dimensions)
    scales = np.abs(exact).max(axis=1, keepdims=True) / quantising.LARGEST
    assert (np.abs(exact - again) <= scales * 1.001).all()


@settings(max_examples=60, deadline=None)
@given(matrices)
def test_the_bits_of_the_bytes_are_those_of_the_numbers(vectors: quantising.Floats) -> None:
    packed = quantising.quantise(vectors)
    signs = quantising.units(vectors) > 0
    assert quantising.bits_of(packed, vectors.shape[1]) == np.packbits(signs, axis=1).tobytes()
    assert {quantising.dimensions_of(row) for row in packed} == {vectors.shape[1]}


@settings(max_examples=40, deadline=None)
@given(
    arrays.arrays(np.uint64, st.tuples(st.integers(1, 50), st.sampled_from([1, 4, 16, 24]))),
    st.integers(1, 60),
    st.randoms(),
)
def test_distances_are_the_numbers_of_differing_signs(bits: quantising.Bits, count: int, chance: object) -> None:
    query = bits[len(bits) // 2]
    differing = scanning.distances(bits, query)
    assert differing.tolist() == [
        sum((int(word) ^ int(other)).bit_count() for word, other in zip(row, query, strict=True)) for row in bits
    ]
    nearest = scanning.nearest(differing, count)
    assert len(set(nearest.tolist())) == min(count, len(bits))
    assert sorted(differing[nearest].tolist()) == sorted(differing.tolist())[:count]


def test_blocks_are_put_together_in_order() -> None:
    bits = np.random.default_rng(1).integers(0, 2**63, size=(scanning.BLOCK * 2 + 5, 16), dtype=np.uint64)
    expected = np.bitwise_count(bits ^ bits[7]).sum(1)
    assert (scanning.distances(bits, bits[7]) == expected).all()


def test_the_length_of_a_vector_says_nothing() -> None:
    vector = np.random.default_rng(2).standard_normal(1024)
    (short,), (long,) = quantising.quantise([vector]), quantising.quantise([vector * 1e30])
    assert np.allclose(quantising.floats_of([short], 1024), quantising.floats_of([long], 1024))
    assert float(quantising.similarities(quantising.unit(vector.tolist()), [short])[0]) == pytest.approx(1, abs=1e-3)


def test_the_zero_vector_is_similar_to_nothing() -> None:
    packed = quantising.quantise([[0.0] * 64])
    assert quantising.similarities(quantising.unit([1.0] * 64), packed).tolist() == [0.0]


@pytest.mark.parametrize(
    "vectors",
    [[[float("nan")] * 64], [[float("inf")] * 64], [[1e300] * 64], [[1.0] * 65], [[]], [[1.0] * 64, [1.0] * 128]],
)
def test_what_is_no_vector_is_refused(vectors: list[list[float]]) -> None:
    with pytest.raises(ValueError):
        quantising.quantise(vectors)
