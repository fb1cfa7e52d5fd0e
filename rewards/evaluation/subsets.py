"""Subsets of a given size: all of them, or random ones if there are too many."""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray


def subsets(total: int, size: int, most: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """(M, total) rows with ones at the members and zeros elsewhere: every subset, or `most` drawn uniformly.

    Raises ValueError unless 1 <= size <= total.
    """
    if not 1 <= size <= total:
        raise ValueError(f"cannot choose {size} of {total} responses")
    if comb(total, size) <= most:
        return _all(total, size)
    order = rng.random((most, total)).argpartition(size - 1, axis=1)[:, :size]
    rows = np.zeros((most, total))
    np.put_along_axis(rows, order, 1.0, axis=1)
    return rows


@lru_cache(maxsize=64)
def _all(total: int, size: int) -> NDArray[np.float64]:
    members = list(combinations(range(total), size))
    rows = np.zeros((len(members), total))
    for row, places in zip(rows, members, strict=True):
        row[list(places)] = 1.0
    return rows
