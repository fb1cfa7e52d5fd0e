"""Accuracy of choosing among n of the N available responses, averaged over all subsets of size n.

This is unbiased and less noisy than taking the first n. The idea is that of pass@k (Chen et al., arXiv 2107.03374,
eq. 1), applied to choosing by a score. The responses must be exchangeable (drawn in the same way); if the columns of a
file come from different models, the figure at n is that of n random ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import comb
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ties = Literal["share", "first"]


def pass_at(correct: Bools, sizes: Sequence[int]) -> Floats:
    """pass@n for each n: 1 - C(N - c, n) / C(N, n), where c of the N responses are correct. (len(sizes),) in [0, 1].

    Raises ValueError for an n outside 1..N.
    """
    return best_of(correct.astype(np.float64), correct, sizes)


def best_of(values: Floats, correct: Bools, sizes: Sequence[int], ties: Ties = "share") -> Floats:
    """The chance that the highest-valued of n random responses is correct, for each n. (len(sizes),) in [0, 1].

    `values` (N,): a failed score is -inf, so that it is chosen only if all scores failed. The response of rank r (from
    0, best first) is the best of C(N-1-r, n-1) of the C(N, n) subsets. Among equal values, `share` takes the mean and
    `first` the one that comes first, as RLHFlow's evaluation does. Raises ValueError for an n outside 1..N.
    """
    order = np.argsort(-values, kind="stable")
    ordered = correct[order].astype(np.float64)
    if ties == "share":
        _, group = np.unique(-values[order], return_inverse=True)
        ordered = (np.bincount(group, weights=ordered) / np.bincount(group))[group]
    return np.stack([chances(len(values), size) for size in sizes]) @ ordered


@lru_cache(maxsize=256)
def chances(total: int, size: int) -> Floats:
    """The chance that the response of rank r (from 0) is the best of `size` random ones: (total,), summing to 1.

    Raises ValueError unless 1 <= size <= total.
    """
    if not 1 <= size <= total:
        raise ValueError(f"cannot choose among {size} of {total} responses")
    whole = comb(total, size)
    return np.array([comb(total - 1 - rank, size - 1) / whole for rank in range(total)])
