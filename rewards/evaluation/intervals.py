"""Bootstrap intervals: how far a figure could move had other problems been drawn (Efron 1979; percentile method).

Problems are resampled with replacement, whole: the responses to a problem stay together, since they are not
independent. All figures of one report share the same resamples, so that the difference of two methods is paired.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Estimate(NamedTuple):
    """A figure with its interval.

    A figure that does not exist (no such problem) is None, and so are its ends. The ends alone are None where no
    resample has the figure.
    """

    value: float | None
    low: float | None = None
    high: float | None = None


class Bootstrap:
    """Intervals at `level` over `problems` problems from `resamples` resamples, the same for the same `seed`.

    Raises ValueError for a level outside (0, 1), and for no problems or resamples.
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
        """The mean of (P,) values, one a problem."""
        return self.ratio(values, np.ones(len(values)))

    def ratio(self, numerators: Floats, denominators: Floats) -> Estimate:
        """sum(numerators) / sum(denominators) over problems, (P,) each: for example an AUC within problems."""
        return self.of(np.stack([numerators, denominators], axis=1), _divided)

    def of(self, columns: Floats, figure: Callable[[Floats], Floats]) -> Estimate:
        """Any figure of sums over problems.

        `columns` is (P, C); `figure` takes sums (..., C) to figures (...), NaN where they do not exist. Resamples in
        which it does not exist are left out of the interval.
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
