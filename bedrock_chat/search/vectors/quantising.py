"""Vectors in a byte for each number, and in a bit. Pure.

A vector of 1,024 numbers takes 4 KB as a model gives it, 1 KB as bytes with a scale for every 64 of them, 128 bytes as
the signs alone. Signs find what may be near, bytes say how near.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Bits = npt.NDArray[np.uint64]
"""Shape (vectors, dimensions / 64)."""

WORD: Final = 64
"""Bits that are compared at once, and numbers that share a scale. Dimensions are a multiple of it."""
SCALE_BYTES: Final = 4
LARGEST: Final = 127
SMALLEST_SCALE: Final = np.finfo(np.float32).tiny
"""Of numbers that are all zero, or as good as that."""


def unit(vector: Sequence[float] | Floats) -> Floats:
    """The vector at length 1, so that products are cosines; the zero vector as it is.

    Raises ValueError where a number is not finite or their count is not a multiple of WORD.
    """
    numbers: Floats = units([vector])[0]
    return numbers


def of_query(vector: Sequence[float], dimensions: int) -> Floats:
    """The vector of a question, at length 1. Raises ValueError where the index has other dimensions."""
    if len(vector) != dimensions:
        raise ValueError(f"A query of {len(vector)} numbers in an index of {dimensions}.")
    return unit(vector)


def units(vectors: Sequence[Sequence[float] | Floats]) -> Floats:
    """As `unit`, of many: shape (vectors, dimensions). Raises ValueError also where their lengths differ."""
    with np.errstate(over="ignore"):  # what is too large for 32 bits is infinite, and refused below
        floats: Floats = np.asarray(vectors, dtype=np.float32)
    if floats.ndim != 2 or not floats.shape[1] or floats.shape[1] % WORD:
        raise ValueError(f"Vectors of shape {floats.shape}: all have to be of one length, a multiple of {WORD}.")
    if not np.isfinite(floats).all():
        raise ValueError("A vector holds a number that is not finite.")
    largest = np.abs(floats).max(axis=1, keepdims=True)
    largest[largest == 0] = 1
    scaled: Floats = floats / largest  # whose squares are neither zero nor infinite
    lengths = np.sqrt((scaled * scaled).sum(axis=1, keepdims=True))
    lengths[lengths == 0] = 1
    normalised: Floats = scaled / lengths
    return normalised


def quantise(vectors: Sequence[Sequence[float] | Floats]) -> list[bytes]:
    """Each vector as its scales and bytes. Costs most of the work of writing: call it outside a transaction.

    No number above zero becomes zero, and none at or below zero gets above it, so that the signs of the bytes are those
    of the numbers: an unchanged passage that takes over its bytes takes over its bits.

    The scales are such that the product of a vector and its bytes is 1: a query that is near a vector points mostly the
    same way, and along it nothing is lost.
    """
    if not len(vectors):
        return []
    floats = units(vectors)
    words = floats.reshape(len(floats), -1, WORD)
    scales = np.maximum(np.abs(words).max(axis=2) / LARGEST, SMALLEST_SCALE)
    scaled = words / scales[:, :, None]
    rounded = np.where(words > 0, np.maximum(np.rint(scaled), 1), np.minimum(np.rint(scaled), 0))
    products = ((rounded * words).sum(axis=2) * scales).sum(axis=1, keepdims=True)
    products[products == 0] = 1
    packed = np.empty(len(floats), dtype=_row_type(floats.shape[1]))
    packed["scales"] = scales / products
    packed["values"] = rounded.reshape(floats.shape)
    return [row.tobytes() for row in packed]


def dimensions_of(quantised: bytes) -> int:
    words, rest = divmod(len(quantised), WORD + SCALE_BYTES)
    return words * WORD if not rest else len(quantised) - SCALE_BYTES


def floats_of(quantised: Sequence[bytes], dimensions: int) -> Floats:
    """Vectors as numbers again, each about within its scale of what it was; shape (vectors, dimensions)."""
    packed = _rows(quantised, dimensions)
    floats: Floats = packed["values"].astype(np.float32) * packed["scales"].repeat(WORD, axis=1)
    return floats


def similarities(query: Floats, quantised: Sequence[bytes | memoryview]) -> Floats:
    """The cosine of a query, of length 1, and each of the vectors."""
    packed = _rows(quantised, len(query))
    by_word = np.einsum("vwn,wn->vw", packed["values"].reshape(len(packed), -1, WORD), query.reshape(-1, WORD))
    products: Floats = (by_word * packed["scales"]).sum(axis=1)
    return products


def ranked(query: Floats, vectors: Sequence[tuple[int, bytes | memoryview]], limit: int) -> list[tuple[int, float]]:
    """Keys of vectors and their similarities to a query, the most similar first, then by key."""
    if not vectors:
        return []
    keys = np.array([key for key, _ in vectors])
    products = similarities(query, [packed for _, packed in vectors])
    order = np.lexsort((keys, -products))[:limit]
    return list(zip(keys[order].tolist(), products[order].tolist(), strict=True))


def bits_of(quantised: Sequence[bytes], dimensions: int) -> bytes:
    """The signs of vectors, one vector behind the other."""
    return np.packbits(_rows(quantised, dimensions)["values"] > 0, axis=1).tobytes()


def bits_of_query(query: Floats) -> Bits:
    """The signs of a query, shape (dimensions / 64,)."""
    return np.packbits(query > 0).view(np.uint64)


def as_bits(stored: bytes, dimensions: int) -> Bits:
    """Stored signs, as they are compared."""
    return np.frombuffer(stored, dtype=np.uint64).reshape(-1, dimensions // WORD)


def _rows(quantised: Sequence[bytes | memoryview], dimensions: int) -> npt.NDArray[np.void]:
    row_type = _row_type(dimensions)
    return np.frombuffer(
        b"".join(_with_scales(row, row_type.itemsize, dimensions) for row in quantised), dtype=row_type
    )


def _with_scales(row: bytes | memoryview, size: int, dimensions: int) -> bytes | memoryview:
    """A vector as it is written now. Earlier ones had a single scale, in front."""
    if len(row) == size:
        return row
    return bytes(row[:SCALE_BYTES]) * (dimensions // WORD) + bytes(row[SCALE_BYTES:])


def _row_type(dimensions: int) -> np.dtype[Any]:
    return np.dtype([("scales", "<f4", (dimensions // WORD,)), ("values", np.int8, (dimensions,))])
