"""Are the probabilities right? Of the steps scored 0.8, eight in ten should be right.

Reliability by bins of equal width, the expected calibration error (Guo et al., arXiv 1706.04599, eq. 3) and Brier's
score. Math-Shepherd's labels ask whether the step *can* still lead to the right answer, so a model trained on them may
well lie above the truth of the step itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rewards.evaluation.ranking import auc


@dataclass(frozen=True)
class Bin:
    """Probabilities in [low, high): how many, their mean, and the share that is true."""

    low: float
    high: float
    count: int
    mean: float
    share: float


@dataclass(frozen=True)
class Calibration:
    """`error` is the expected calibration error, `brier` the mean squared error, both in [0, 1], 0 the best.

    `base` is the share that is true; a constant answer of `base` has error 0 and brier base * (1 - base). `auc` is None
    where only one class is there. Empty bins are left out.
    """

    count: int
    base: float
    error: float
    brier: float
    auc: float | None
    bins: tuple[Bin, ...]


def calibration(probabilities: Sequence[float], truths: Sequence[bool], bins: int = 10) -> Calibration:
    """The calibration of probabilities in [0, 1] against truths of the same length.

    Raises ValueError for no probabilities, other lengths, and numbers outside [0, 1].
    """
    values, rights = np.asarray(probabilities, dtype=np.float64), np.asarray(truths, dtype=bool)
    if len(values) == 0 or len(values) != len(rights):
        raise ValueError(f"{len(values)} probabilities cannot be held against {len(rights)} truths")
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("scores must be probabilities in [0, 1]")
    place = np.minimum((values * bins).astype(int), bins - 1)
    filled = tuple(
        Bin(
            low=number / bins,
            high=(number + 1) / bins,
            count=int(inside.sum()),
            mean=float(values[inside].mean()),
            share=float(rights[inside].mean()),
        )
        for number in range(bins)
        if (inside := place == number).any()
    )
    return Calibration(
        count=len(values),
        base=float(rights.mean()),
        error=sum(one.count * abs(one.mean - one.share) for one in filled) / len(values),
        brier=float(((values - rights) ** 2).mean()),
        auc=auc(values, rights),
        bins=filled,
    )


def steps_up_to_error(steps: Sequence[float], label: int) -> list[tuple[float, bool]]:
    """(score, is the step right) of the steps whose truth ProcessBench's label tells: those up to the first wrong one.

    What comes after it has no label. `label` -1: every step is right.
    """
    if label < 0:
        return [(score, True) for score in steps]
    return [(score, index < label) for index, score in enumerate(steps[: label + 1])]
