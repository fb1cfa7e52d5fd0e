"""Statistics of ranks: AUC within problems, Spearman's correlation. NumPy arrays in, floats out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata, spearmanr

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def spearman(first: Floats, second: Floats) -> float | None:
    """Spearman's rank correlation of two (N,) arrays in [-1, 1]; None if one of them is constant or N < 2."""
    if len(first) < 2 or any(np.ptp(values) == 0 for values in (first, second)):
        return None
    return float(spearmanr(first, second).statistic)


def auc(values: Floats, positive: Bools) -> float | None:
    """The chance that a positive's value exceeds a negative's, ties counting half; None if one class is missing."""
    won, pairs = ordered_pairs(values, positive)
    return won / pairs if pairs else None


def ordered_pairs(values: Floats, positive: Bools) -> tuple[float, int]:
    """Among the (positive, negative) pairs of (N,) values: how many the positive wins (ties half), and their number.

    These are Mann-Whitney's U and n * m; summed over problems they give the AUC within problems.
    """
    positives = int(positive.sum())
    pairs = positives * (len(positive) - positives)
    if not pairs:
        return 0.0, 0
    return float(rankdata(values)[positive].sum()) - positives * (positives + 1) / 2, pairs


def concordance(first: Floats, second: Floats) -> tuple[float, int]:
    """Among the pairs that both (N,) arrays order strictly: how many they order the same way, and their number.

    Their ratio is in [0, 1]; 2 * ratio - 1 is Goodman and Kruskal's gamma. O(N^2) memory.
    """
    upper = np.triu_indices(len(first), k=1)
    signs = [np.sign(values[:, None] - values[None, :])[upper] for values in (first, second)]
    agreement = signs[0] * signs[1]
    return float((agreement > 0).sum()), int((agreement != 0).sum())
