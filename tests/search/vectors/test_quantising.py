"""Vectors as bytes and bits: how near they stay to what they were."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bedrock_chat.bedrock import embedding_models
from bedrock_chat.bedrock.embedding_models import EmbeddingModel
from bedrock_chat.search.vectors import quantising, scanning

numbers = st.floats(-1e6, 1e6, width=32)
matrices = arrays.arrays(np.float32, st.tuples(st.integers(1, 6), st.sampled_from([64, 128, 1024])), elements=numbers)


@settings(max_examples=60, deadline=None)
@given(matrices)
@example(np.array([[1.0] + [1e-38] * 127], dtype=np.float32))
def test_every_number_stays_within_its_scale(vectors: quantising.Floats) -> None:
    dimensions = vectors.shape[1]
    exact = quantising.units(vectors)
    again = quantising.floats_of(quantising.quantise(vectors), dimensions)
    words = np.abs(exact).reshape(len(exact), -1, quantising.WORD)
    scales = np.maximum(words.max(axis=2) / quantising.LARGEST, quantising.SMALLEST_SCALE)
    scales = scales.repeat(quantising.WORD, axis=1)
    assert (np.abs(exact - again) <= scales * 2).all()


@settings(max_examples=60, deadline=None)
@given(matrices)
def test_along_a_vector_nothing_is_lost(vectors: quantising.Floats) -> None:
    exact = quantising.units(vectors)
    again = quantising.floats_of(quantising.quantise(vectors), vectors.shape[1])
    products = (exact.astype(np.float64) * again).sum(axis=1)
    assert np.allclose(products, exact.any(axis=1), atol=1e-5)


def test_a_number_that_is_far_larger_than_the_others_takes_nothing_from_those_of_other_words() -> None:
    chance = np.random.default_rng(3)
    vector, query = chance.standard_normal((2, 1024), dtype=np.float32)
    vector[5], query[: quantising.WORD] = 300, 0
    exact = float(quantising.unit(vector) @ quantising.unit(query))
    [similarity] = quantising.similarities(quantising.unit(query), quantising.quantise([vector]))
    assert similarity == pytest.approx(exact, abs=2e-4)


def test_a_vector_that_was_written_with_a_single_scale_is_read_beside_others() -> None:
    earlier = np.float32(0.25).tobytes() + bytes(range(128))
    new = quantising.quantise([[1.0] * 128])[0]
    assert [quantising.dimensions_of(row) for row in (earlier, new)] == [128, 128]
    floats = quantising.floats_of([earlier, new], 128)
    assert floats[0].tolist() == [number / 4 for number in range(128)]
    assert np.allclose(floats[1], 1 / np.sqrt(128))
    query = quantising.unit([1.0] * 128)
    assert np.allclose(quantising.similarities(query, [earlier, new]), floats @ query)


@pytest.mark.parametrize("model", embedding_models.MODELS.values(), ids=lambda model: model.key)
def test_of_no_model_a_vector_with_a_single_scale_is_as_long_as_one_of_other_dimensions(model: EmbeddingModel) -> None:
    """Of 1,152 dimensions it would be: such a model needs vectors that say which they are."""
    dimensions = model.dimensions
    assert dimensions % quantising.WORD == 0
    for length in (quantising.SCALE_BYTES + dimensions, len(quantising.quantise([[0.5] * dimensions])[0])):
        assert quantising.dimensions_of(bytes(length)) == dimensions


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
