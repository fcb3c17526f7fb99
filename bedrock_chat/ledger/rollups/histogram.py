"""The buckets of latencies, 5 % apart and the same for ever, so that counts of any span can be added. Pure."""

from bisect import bisect_left
from collections.abc import Mapping
from typing import Final

LONGEST_MS: Final = 24 * 3600 * 1000
"""What took longer is in the last bucket."""


def _bounds() -> tuple[int, ...]:
    bounds, bound = [1], 1.0
    while bounds[-1] < LONGEST_MS:
        bound = max(bound * 1.05, bounds[-1] + 1)  # below 20 ms, whole milliseconds are further apart than 5 %
        bounds.append(int(bound))
    return tuple(bounds)


BOUNDS: Final = _bounds()
"""Bucket → the longest time in it, in milliseconds."""


def bucket_of(milliseconds: int) -> int:
    return min(bisect_left(BOUNDS, milliseconds), len(BOUNDS) - 1)


def percentile(counts: Mapping[int, int], part: float) -> int | None:
    """The time within which a part (0 to 1) of the calls were done, in milliseconds, at most 5 % too long.

    `counts` is bucket → calls. None where there are none.
    """
    wanted, passed = part * sum(counts.values()), 0
    for bucket in sorted(counts):
        passed += counts[bucket]
        if passed >= wanted and passed:
            return BOUNDS[bucket]
    return None
