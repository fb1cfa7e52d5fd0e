"""Calibration: of the steps scored 0.8, eight in ten should be correct.

Reliability in bins of equal width, the expected calibration error (Guo et al., arXiv 1706.04599, eq. 3) and the Brier
score. Math-Shepherd's labels ask whether a step *can* still lead to the correct answer, so a model trained on them may
well give higher probabilities than the share of steps that are correct.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rewards.evaluation.ranking import auc


@dataclass(frozen=True)
class Bin:
    """Probabilities in [low, high): their number, their mean, and the share that is correct."""

    low: float
    high: float
    count: int
    mean: float
    share: float


@dataclass(frozen=True)
class Calibration:
    """`error` is the expected calibration error and `brier` the mean squared error, both in [0, 1]; 0 is best.

    `base` is the share that is correct; always answering `base` gives error 0 and brier base * (1 - base). `auc` is
    None if there is only one class. Empty bins are left out.
    """

    count: int
    base: float
    error: float
    brier: float
    auc: float | None
    bins: tuple[Bin, ...]


def calibration(probabilities: Sequence[float], correct: Sequence[bool], bins: int = 10) -> Calibration:
    """The calibration of probabilities in [0, 1]; `correct` has the same length.

    Raises ValueError if there are none, if the lengths differ, and for numbers outside [0, 1].
    """
    values, labels = np.asarray(probabilities, dtype=np.float64), np.asarray(correct, dtype=bool)
    if len(values) == 0 or len(values) != len(labels):
        raise ValueError(f"{len(values)} probabilities cannot be compared with {len(labels)} labels")
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("scores must be probabilities in [0, 1]")
    place = np.minimum((values * bins).astype(int), bins - 1)
    filled = tuple(
        Bin(
            low=number / bins,
            high=(number + 1) / bins,
            count=int(inside.sum()),
            mean=float(values[inside].mean()),
            share=float(labels[inside].mean()),
        )
        for number in range(bins)
        if (inside := place == number).any()
    )
    return Calibration(
        count=len(values),
        base=float(labels.mean()),
        error=sum(one.count * abs(one.mean - one.share) for one in filled) / len(values),
        brier=float(((values - labels) ** 2).mean()),
        auc=auc(values, labels),
        bins=filled,
    )


def steps_up_to_error(steps: Sequence[float], label: int) -> list[tuple[float, bool]]:
    """(score, whether the step is correct) for the steps that a ProcessBench label covers: up to the first wrong one.

    Later steps have no label. A `label` of -1 means that every step is correct.
    """
    if label < 0:
        return [(score, True) for score in steps]
    return [(score, index < label) for index, score in enumerate(steps[: label + 1])]
