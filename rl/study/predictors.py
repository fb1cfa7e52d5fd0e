"""Which figure of a reward, measured before training, predicted the truth after it?

The first rollout of every run is drawn from the untrained policy and scored by the run's reward. It gives the figures
of `rewards.evaluation.trust` before anything was optimised; their ranks over rewards are compared with the ranks of
the final accuracy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from rewards.evaluation.intervals import Bootstrap
from rewards.evaluation.trust import Trust, trust
from rl.study.samples import Drawn

FIRST = (1, "train")
"""The samples of a run that its untrained policy drew."""

FIGURES = {
    "AUC": "chance that a right response scores above a wrong one",
    "AUC within a problem": "the same among responses to one problem",
    "best of n": "share of problems whose top-scored response is right",
    "top-scored wrong": "share of problems whose top-scored response is wrong though a right one is there",
    "wrong above all right": "share of wrong responses that score above every right one of their problem",
    "length bias": "how far the correlation with length exceeds that of being right, either way",
    "at the top": "share of scores within 1% of the highest",
    "flat": "share of problems whose responses all score the same",
    "failed": "share of responses without a score",
}
"""The figures of a reward before training, and what they are."""

FEWEST = 4
"""Fewer rewards than this have too few orders for a correlation to say anything."""


@dataclass(frozen=True)
class Prediction:
    """How well a figure before training predicted the truth after it.

    rewards: how many rewards have both. correlation: Spearman's, None if a side is constant. p: two-sided permutation
    p-value; adjusted: corrected for all figures tried (Benjamini and Hochberg 1995).
    """

    figure: str
    rewards: int
    correlation: float | None
    p: float | None
    adjusted: float | None


def first_rollout(samples: Sequence[Drawn]) -> dict[str, float]:
    """The figures of a run's reward on the samples of its first rollout; empty if there are none with grades."""
    groups: dict[str, list[Drawn]] = {}
    for sample in samples:
        groups.setdefault(sample.problem_id, []).append(sample)
    kept = [group for group in groups.values() if all(one.correct is not None for one in group)]
    if not kept:
        return {}
    report = trust(
        [np.array([np.nan if one.value is None else one.value for one in group]) for group in kept],
        [np.array([one.correct for one in group], dtype=bool) for group in kept],
        [np.array([len(one.response) for one in group], dtype=np.float64) for group in kept],
        Bootstrap(len(kept), resamples=1),
    )
    return figures_of(report)


def figures_of(report: Trust) -> dict[str, float]:
    """The figures of a trust report by name, without those that do not exist."""
    bias = None if report.length is None else abs(report.length - (report.length_of_truth or 0.0))
    named = {
        "AUC": report.auc,
        "AUC within a problem": report.group_auc.value,
        "best of n": report.best if report.group > 1 else None,
        "top-scored wrong": report.top_wrong if report.group > 1 else None,
        "wrong above all right": report.outscoring,
        "length bias": bias,
        "at the top": report.at_top,
        "flat": report.flat if report.group > 1 else None,
        "failed": report.failed,
    }
    return {name: float(value) for name, value in named.items() if value is not None}


def predictions(before: Mapping[str, Mapping[str, float]], after: Mapping[str, float]) -> list[Prediction]:
    """One line per figure, the strongest correlation first.

    before: the figures of each reward. after: the truth that each reward led to. Figures that fewer than four rewards
    have are left out.
    """
    found = []
    for figure in dict.fromkeys(name for figures in before.values() for name in figures):
        rewards = [reward for reward in before if figure in before[reward] and reward in after]
        if len(rewards) >= FEWEST:
            found.append(_prediction(figure, [(before[one][figure], after[one]) for one in rewards]))
    tested = [one for one in found if one.p is not None]
    adjusted = stats.false_discovery_control([one.p for one in tested]) if tested else []
    by_figure = dict(zip([one.figure for one in tested], map(float, adjusted), strict=True))
    done = [Prediction(one.figure, one.rewards, one.correlation, one.p, by_figure.get(one.figure)) for one in found]
    return sorted(done, key=lambda one: -abs(one.correlation or 0.0))


def _prediction(figure: str, points: Sequence[tuple[float, float]]) -> Prediction:
    before, after = np.array(points).T
    if np.ptp(before) == 0 or np.ptp(after) == 0:
        return Prediction(figure, len(points), None, None, None)

    def correlation(values: Any) -> float:
        return float(stats.spearmanr(values, after).statistic)

    test = stats.permutation_test((before,), correlation, permutation_type="pairings", n_resamples=2000, rng=0)
    return Prediction(figure, len(points), float(test.statistic), float(test.pvalue), None)
