"""ProcessBench (arXiv 2412.06559): does a process reward model find the first wrong step?

A solution's label is the index of its first wrong step, -1 if there is none. The prediction is the first step that is
scored below a threshold, or -1. Accuracy is computed separately on solutions with and without a wrong step; F1 is the
harmonic mean of the two. RLHFlow's evaluation counts a step as wrong if `-` is more likely than `+`: the threshold is
one half.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rewards.evaluation.intervals import Bootstrap, Estimate

Floats = NDArray[np.float64]
NO_ERROR = -1


@dataclass(frozen=True)
class ProcessBench:
    """The three figures in [0, 1], None if their class of solutions is missing, and the size of each class.

    `error` and `correct` are the accuracies on the solutions with and without a wrong step.
    """

    error: Estimate
    correct: Estimate
    f1: Estimate
    errors: int
    corrects: int


def first_error(steps: Sequence[float], threshold: float = 0.5) -> int:
    """The index of the first step scored below the threshold, -1 if there is none."""
    return next((index for index, score in enumerate(steps) if score < threshold), NO_ERROR)


def process_bench(labels: Sequence[int], predictions: Sequence[int | None], bootstrap: Bootstrap) -> ProcessBench:
    """The figures of (P,) predictions; None means no prediction (a failed score), which never counts as correct."""
    columns = _columns(labels, predictions)
    wrong, _, right, _ = columns.sum(axis=0)
    return ProcessBench(
        error=bootstrap.ratio(columns[:, 1], columns[:, 0]),
        correct=bootstrap.ratio(columns[:, 3], columns[:, 2]),
        f1=bootstrap.of(columns, _f1),
        errors=int(wrong),
        corrects=int(right),
    )


def best_threshold(labels: Sequence[int], steps: Sequence[Sequence[float] | None]) -> float | None:
    """The threshold with the highest F1 on these solutions; None if a class is missing or nothing was scored.

    The paper chooses it on the GSM8K subset and keeps it for the others. Candidates are midpoints between neighbouring
    scores, at most 200 at evenly spaced quantiles; the lowest of equally good ones is taken.
    """
    scores = np.unique([score for one in steps if one is not None for score in one])
    if len(scores) == 0 or len({label == NO_ERROR for label in labels}) < 2:
        return None
    middles = np.concatenate([scores[:1], (scores[:-1] + scores[1:]) / 2])
    if len(middles) > 200:
        middles = np.quantile(middles, np.linspace(0, 1, 200))
    found = [
        float(_f1(_columns(labels, [None if one is None else first_error(one, t) for one in steps]).sum(axis=0)))
        for t in middles
    ]
    return float(middles[int(np.argmax(found))])


def _columns(labels: Sequence[int], predictions: Sequence[int | None]) -> Floats:
    """(P, 4): whether the solution has a wrong step, whether that was found, whether it has none, and so predicted."""
    hits = [label == prediction for label, prediction in zip(labels, predictions, strict=True)]
    wrong = np.array([label != NO_ERROR for label in labels])
    return np.stack([wrong, wrong & hits, ~wrong, ~wrong & hits], axis=1).astype(np.float64)


def _f1(sums: Floats) -> Floats:
    """F1 of sums (..., 4); 0 if both accuracies are 0, NaN if a class is missing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        error, correct = sums[..., 1] / sums[..., 0], sums[..., 3] / sums[..., 2]
        f1 = 2 * error * correct / (error + correct)
    missing = np.isnan(error) | np.isnan(correct)
    return np.where(missing, np.nan, np.nan_to_num(f1))
