"""Bootstrap intervals: how much a figure would vary with other problems (Efron 1979; percentile method).

Whole problems are resampled with replacement: the responses to a problem stay together, since they are not independent.
All figures of a report share the same resamples, so that differences between methods are paired.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Estimate(NamedTuple):
    """A figure with its interval.

    A figure that does not exist (no such problem) is None, and so are its ends. The ends alone are None if the figure
    exists in no resample.
    """

    value: float | None
    low: float | None = None
    high: float | None = None


class Bootstrap:
    """Intervals at `level` over `problems` problems from `resamples` resamples; the same `seed` gives the same ones.

    Raises ValueError for a level outside (0, 1), and for zero problems or resamples.
    """

    def __init__(self, problems: int, resamples: int = 1000, level: float = 0.95, seed: int = 0) -> None:
        if problems < 1 or resamples < 1:
            raise ValueError(f"a bootstrap needs problems and resamples, not {problems} and {resamples}")
        if not 0 < level < 1:
            raise ValueError(f"the level of an interval must be in (0, 1), not {level}")
        tail = 50 * (1 - level)
        self._ends = (tail, 100 - tail)
        share = np.full(problems, 1 / problems)
        self._counts = np.random.default_rng(seed).multinomial(problems, share, size=resamples).astype(np.float64)

    def mean(self, values: Floats) -> Estimate:
        """The mean of (P,) values, one per problem."""
        return self.ratio(values, np.ones(len(values)))

    def ratio(self, numerators: Floats, denominators: Floats) -> Estimate:
        """sum(numerators) / sum(denominators) over problems, both (P,): for example an AUC within problems."""
        return self.of(np.stack([numerators, denominators], axis=1), _divided)

    def of(self, columns: Floats, figure: Callable[[Floats], Floats]) -> Estimate:
        """Any figure that is a function of sums over problems.

        `columns` is (P, C); `figure` maps sums (..., C) to figures (...), NaN for one that does not exist. Resamples
        without the figure are left out of the interval.
        """
        value = float(figure(columns.sum(axis=0)))
        if not np.isfinite(value):
            return Estimate(None)
        resampled = figure(self._counts @ columns)
        resampled = resampled[np.isfinite(resampled)]
        if not len(resampled):
            return Estimate(value)
        low, high = np.percentile(resampled, self._ends)
        return Estimate(value, float(low), float(high))


def _divided(sums: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return sums[..., 0] / sums[..., 1]
