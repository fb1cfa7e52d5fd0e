"""Measure the world's models on the policy's held-out samples, against the world's verifier.

Pure functions of problems, responses and scores; `measuring` draws and scores.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np

from rewards.aggregate import AGGREGATES
from rewards.evaluation.ranking import auc
from rewards.types import Group, Score
from rl.tasks.arithmetic.task import ArithmeticTask
from rl.tasks.arithmetic.verify import lines_of

Verdicts = Sequence[Sequence[bool]]
"""`verdicts[i][j]`: whether response j to problem i has the right answer."""


def policy_quality(task: ArithmeticTask, groups: Sequence[Group]) -> dict[str, float]:
    """pass@1 (mean over all responses), pass@n, and majority@n (the most common last line; the first wins a tie)."""
    verdicts = grade(task, groups)
    size = len(groups[0].responses)
    majority = [
        right[_majority([response.text for response in group.responses])] for group, right in _both(groups, verdicts)
    ]
    return {
        "pass@1": fmean(float(right) for group in verdicts for right in group),
        f"pass@{size}": fmean(float(any(group)) for group in verdicts),
        f"majority@{size}": fmean(float(right) for right in majority),
    }


def outcome_quality(
    task: ArithmeticTask, groups: Sequence[Group], scores: Sequence[Sequence[Score]]
) -> dict[str, float]:
    """AUC of the values against the right answers, and best-of-n. A failed score ranks last and is counted."""
    verdicts = grade(task, groups)
    pairs = [pair for row, right in zip(scores, verdicts, strict=True) for pair in zip(row, right, strict=True)]
    return {
        "auc": _auc([(_rank(score), right) for score, right in pairs]),
        f"best-of-{len(groups[0].responses)}": best_of_n(verdicts, [[_rank(score) for score in row] for row in scores]),
        "failed": float(sum(not score.ok for score, _ in pairs)),
    }


def step_quality(task: ArithmeticTask, groups: Sequence[Group], scores: Sequence[Sequence[Score]]) -> dict[str, float]:
    """AUC of the step scores: over all steps, and over the steps up to the first wrong one; best-of-n by aggregation.

    The second AUC is harder: it excludes steps that are wrong only because an earlier one is.
    """
    verdicts = grade(task, groups)
    steps: list[tuple[float, bool]] = []
    to_error: list[tuple[float, bool]] = []
    for group, row in zip(groups, scores, strict=True):
        for response, score in zip(group.responses, row, strict=True):
            if score.steps is None:
                continue
            truth = task.grade_steps(group.problem, response.text)
            steps += zip(score.steps, truth, strict=True)
            kept = truth.index(False) + 1 if False in truth else len(truth)
            to_error += list(zip(score.steps, truth, strict=True))[:kept]
    found = {"step auc": _auc(steps), "step auc to the first error": _auc(to_error)}
    for name, aggregate in AGGREGATES.items():
        values = [[aggregate(score.steps) if score.steps else -1.0 for score in row] for row in scores]
        found[f"best-of-{len(groups[0].responses)} by {name}"] = best_of_n(verdicts, values)
    return found


def best_of_n(verdicts: Verdicts, values: Sequence[Sequence[float]]) -> float:
    """The share of problems whose highest-valued response is right; the first wins a tie."""
    return fmean(
        float(right[row.index(max(row))]) for row, right in zip([list(r) for r in values], verdicts, strict=True)
    )


def grade(task: ArithmeticTask, groups: Sequence[Group]) -> list[list[bool]]:
    """The verifier's verdict on every response."""
    return [[task.grade(group.problem, response.text) for response in group.responses] for group in groups]


def as_table(quality: Mapping[str, Mapping[str, float]]) -> str:
    """The numbers as a Markdown table."""
    rows = [f"| {model} | {name} | {value:.3f} |" for model, named in quality.items() for name, value in named.items()]
    return "\n".join(["| model | measure | value |", "|---|---|---|", *rows])


def _majority(texts: Sequence[str]) -> int:
    answers = [(lines_of(text) or [""])[-1] for text in texts]
    return answers.index(Counter(answers).most_common(1)[0][0])


def _rank(score: Score) -> float:
    return score.value if score.ok else float("-inf")


def _auc(pairs: Sequence[tuple[float, bool]]) -> float:
    """The AUC, or NaN if all or none are right."""
    found = auc(np.array([value for value, _ in pairs]), np.array([right for _, right in pairs], dtype=bool))
    return float("nan") if found is None else found


def _both(groups: Sequence[Group], verdicts: Verdicts) -> list[tuple[Group, Sequence[bool]]]:
    return list(zip(groups, verdicts, strict=True))
