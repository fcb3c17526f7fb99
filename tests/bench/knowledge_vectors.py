"""Made-up vectors, the same in every run, and the ones that are really nearest to a query.

They lie in clusters, as those of texts do, and each block is drawn by itself, so that a million never have to be in
memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

DIMENSIONS = 1_024
BLOCK = 10_000
MOST_CLUSTERS = 2_000
CLUSTER = 50
"""Vectors of a cluster, where there are not so many that there are more."""
SPREAD = 0.7
"""Of a vector around its cluster's centre, whose numbers have a spread of 1."""

Floats = npt.NDArray[np.float32]


def blocks(count: int, seed: int, clusters: int) -> Iterator[Floats]:
    """`count` vectors of length 1, BLOCK at a time."""
    centres = np.random.default_rng(1).standard_normal((clusters, DIMENSIONS), dtype=np.float32)
    for start in range(0, count, BLOCK):
        chance = np.random.default_rng((seed, start))
        size = min(BLOCK, count - start)
        vectors = centres[chance.integers(0, clusters, size)]
        vectors = vectors + SPREAD * chance.standard_normal((size, DIMENSIONS), dtype=np.float32)
        yield vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def clusters_of(chunks: int) -> int:
    return max(1, min(MOST_CLUSTERS, chunks // CLUSTER))


def queries(count: int, chunks: int) -> Floats:
    """Queries of a bot with so many chunks: near to some of them, as questions are to their answers."""
    return next(blocks(count, 99, clusters_of(chunks)))


@dataclass
class Nearest:
    """The ten nearest vectors of each query, of all blocks that were shown to it."""

    queries: Floats
    best: list[list[tuple[float, int]]] = field(init=False)

    def __post_init__(self) -> None:
        self.best = [[] for _ in self.queries]

    def show(self, vectors: Floats, keys: list[int]) -> None:
        products = self.queries @ vectors.T
        for number, row in enumerate(products):
            places = np.argpartition(-row, 10)[:10] if len(row) > 10 else np.arange(len(row))
            nearest = [(float(row[place]), keys[place]) for place in places]
            self.best[number] = sorted(self.best[number] + nearest, reverse=True)[:10]

    def keys(self) -> list[list[int]]:
        return [[key for _, key in row] for row in self.best]
