"""Are two settings apart, and how sure is it? Thin functions over scipy.stats; NumPy arrays in, plain numbers out.

After Agarwal et al. 2021 (arXiv 2108.13264): interquartile means with stratified bootstrap intervals, and the
probability of improvement. Differences are paired by seed: runs with the same seed see the same problems.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from rewards.evaluation.intervals import Estimate

Floats = NDArray[np.float64]

LEVEL = 0.95
RESAMPLES = 10_000
"""Bootstrap resamples of an interquartile mean."""
PAIR_RESAMPLES = 2_000
"""Bootstrap resamples of a probability of improvement, of which a study has many."""
POWER = 0.8
"""The power for which `seeds_needed` plans."""
MOST_SEEDS = 1000


class Key(NamedTuple):
    """What a value is from: its stratum (a task, or another choice that is averaged over) and its seed."""

    stratum: Hashable
    seed: Hashable


Values = Mapping[Key, float]
"""One value per run of something that is compared."""


@dataclass(frozen=True)
class Summary:
    """Values of one subject over its runs. iqm: interquartile mean with its stratified bootstrap interval.

    With fewer than four runs in all, the interquartile mean is the mean; with one run in a stratum, there is no
    interval.
    """

    values: tuple[float, ...]
    mean: float
    iqm: Estimate


@dataclass(frozen=True)
class Comparison:
    """Two subjects, by name. Differences are first - second.

    pairs: runs of equal stratum and seed, from which `difference` (mean, with a t interval) and `p` (two-sided paired
    t-test) are taken. Without two such pairs, `paired` is False: all runs are used, with Welch's t-test. p and the
    interval are None with fewer than two runs on a side. adjusted: p corrected for all comparisons made. improvement:
    P(first > second), ties half, averaged over strata. needed: the seeds per subject that would tell a difference of
    this size and spread with 80% power; None if that is more than 1000, or unknown.
    """

    first: str
    second: str
    pairs: int
    paired: bool
    difference: Estimate
    p: float | None
    adjusted: float | None
    improvement: Estimate
    needed: int | None

    @property
    def apart(self) -> bool:
        """Whether the two can be told apart at the level of 95%, corrected for all comparisons."""
        return self.adjusted is not None and self.adjusted < 1 - LEVEL


def summary(values: Values) -> Summary:
    """Mean, interquartile mean and interval of the values. Raises ValueError for none."""
    if not values:
        raise ValueError("a summary needs at least one value")
    strata = list(by_stratum(values).values())
    every = np.concatenate(strata)
    return Summary(tuple(every.tolist()), float(every.mean()), interval(strata, _iqm, RESAMPLES))


def compare(subjects: Mapping[str, Values]) -> list[Comparison]:
    """Every pair of subjects, in the order given, its p-value adjusted for all of them (Benjamini and Hochberg 1995).

    Of the pairs that are told apart, one in twenty is expected to be a false discovery. The correction holds for
    pairwise comparisons, which depend on each other (Yekutieli 2008).
    """
    found = [_pair(first, second, subjects) for first, second in combinations(subjects, 2)]
    tested = [number for number, one in enumerate(found) if one.p is not None]
    if tested:
        adjusted = stats.false_discovery_control([found[number].p for number in tested], method="bh")
        for number, p in zip(tested, adjusted, strict=True):
            found[number] = replace(found[number], adjusted=float(p))
    alpha = (1 - LEVEL) / max(1, len(tested))
    return [replace(one, needed=_needed(one, subjects, alpha)) for one in found]


def by_stratum(values: Values) -> dict[Hashable, Floats]:
    """The values of each stratum, in order."""
    found: dict[Hashable, list[float]] = {}
    for key, value in values.items():
        found.setdefault(key.stratum, []).append(value)
    return {stratum: np.array(one, dtype=np.float64) for stratum, one in found.items()}


def interval(strata: Sequence[Floats], statistic: Callable[..., Floats], resamples: int) -> Estimate:
    """`statistic` of the strata, with its percentile bootstrap interval; each stratum is resampled by itself.

    `statistic` takes the strata and the axis to reduce. There is no interval if a stratum has a single value.
    """
    value = float(statistic(*strata, axis=-1))
    if any(len(one) < 2 for one in strata):
        return Estimate(value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # values that are all equal: the interval is that point
        found = stats.bootstrap(
            strata, statistic, n_resamples=resamples, confidence_level=LEVEL, method="percentile", batch=2500, rng=0
        ).confidence_interval
    low, high = (value if np.isnan(end) else float(end) for end in (found.low, found.high))
    return Estimate(value, low, high)


def improvement(first: Values, second: Values) -> Estimate:
    """P(first > second), ties half, averaged over the strata that both have: Mann-Whitney's U over n * m.

    Without a common stratum the value is None.
    """
    ours, theirs = by_stratum(first), by_stratum(second)
    shared = [stratum for stratum in ours if stratum in theirs]
    if not shared:
        return Estimate(None)
    strata = [values for stratum in shared for values in (ours[stratum], theirs[stratum])]
    return interval(strata, _improvement, PAIR_RESAMPLES)


def seeds_needed(difference: float, spread: float, alpha: float, paired: bool = True) -> int | None:
    """The fewest seeds per subject with which a two-sided t-test finds this difference with 80% power.

    `spread` is the standard deviation of the paired differences, or of the values within a subject. None if more than
    1000 seeds are needed.
    """
    if difference == 0:
        return None
    if spread == 0:
        return 2

    def power(seeds: int) -> float:
        freedom = seeds - 1 if paired else 2 * (seeds - 1)
        effect = abs(difference) / spread * np.sqrt(seeds if paired else seeds / 2)
        limit = stats.t.isf(alpha / 2, freedom)
        return float(stats.nct.sf(limit, freedom, effect))

    low, high = 1, MOST_SEEDS
    if power(high) < POWER:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
    return high


def _iqm(*strata: Floats, axis: int = -1) -> Floats:
    return stats.trim_mean(np.concatenate(strata, axis=axis), 0.25, axis=axis)


def _improvement(*strata: Floats, axis: int = -1) -> Floats:
    chances = [
        stats.mannwhitneyu(ours, theirs, axis=axis, method="asymptotic").statistic
        / (ours.shape[axis] * theirs.shape[axis])
        for ours, theirs in zip(strata[::2], strata[1::2], strict=True)
    ]
    return np.mean(chances, axis=0)


def _pair(first: str, second: str, subjects: Mapping[str, Values]) -> Comparison:
    ours, theirs, paired = _sides(subjects[first], subjects[second])
    low = high = p = None
    if min(len(ours), len(theirs)) > 1:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # equal differences: t is infinite or undefined
            test = stats.ttest_rel(ours, theirs) if paired else stats.ttest_ind(ours, theirs, equal_var=False)
            ends = test.confidence_interval(LEVEL)
        p = 1.0 if np.isnan(test.pvalue) else float(test.pvalue)
        low, high = (None if np.isnan(end) else float(end) for end in ends)
    return Comparison(
        first,
        second,
        pairs=len(ours) if paired else 0,
        paired=paired,
        difference=Estimate(float(ours.mean() - theirs.mean()), low, high),
        p=p,
        adjusted=None,
        improvement=improvement(subjects[first], subjects[second]),
        needed=None,
    )


def _sides(first: Values, second: Values) -> tuple[Floats, Floats, bool]:
    """The values to compare, and whether they are paired."""
    shared = [key for key in first if key in second]
    paired = len(shared) > 1 or (bool(shared) and len(first) == len(second) == 1)
    ours, theirs = (
        np.array([one[key] for key in shared] if paired else list(one.values()), dtype=np.float64)
        for one in (first, second)
    )
    return ours, theirs, paired


def _needed(one: Comparison, subjects: Mapping[str, Values], alpha: float) -> int | None:
    """The seeds needed for a comparison that was tested; with strata, each seed gives a pair in every stratum."""
    if one.p is None or one.difference.value is None:
        return None
    ours, theirs, paired = _sides(subjects[one.first], subjects[one.second])
    if paired:
        spread = float((ours - theirs).std(ddof=1))
    else:
        spread = float(np.sqrt((ours.var(ddof=1) + theirs.var(ddof=1)) / 2))
    needed = seeds_needed(one.difference.value, spread, alpha, paired)
    strata = len({key.stratum for key in subjects[one.first]} & {key.stratum for key in subjects[one.second]}) or 1
    return None if needed is None else -(-needed // strata)
