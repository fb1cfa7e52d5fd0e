"""Measure a pairwise judge: its verdicts against the verifier's, and its tournament's choices.

As in `rl.tasks.arithmetic.workshop.quality`, these are pure functions of problems, responses, and verdicts or scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from rewards.types import Group, Score
from rewards.verdicts import Comparison, Verdict
from rl.tasks.arithmetic.task import ArithmeticTask
from rl.tasks.arithmetic.workshop.quality import grade


def comparisons(groups: Sequence[Group]) -> list[Comparison]:
    """Every group's responses in pairs: first and second, third and fourth, and so on. An odd last one is left out."""
    return [
        Comparison(group.problem.text, a.text, b.text)
        for group in groups
        for a, b in zip(group.responses[::2], group.responses[1::2], strict=False)
    ]


def verdict_quality(task: ArithmeticTask, groups: Sequence[Group], verdicts: Sequence[Verdict]) -> dict[str, float]:
    """How often the judge's verdicts on `comparisons(groups)` agree with the verifier, and the number of verdicts.

    Each comparison has two verdicts. `accuracy` counts a missing verdict as wrong. `accuracy on right` and `accuracy on
    wrong` are over the responses that the verifier finds right and wrong.
    """
    truths = [
        pair
        for group, right in zip(groups, grade(task, groups), strict=True)
        for pair in zip(right[::2], right[1::2], strict=False)
    ]
    sides = [
        (found, true)
        for verdict, truth in zip(verdicts, truths, strict=True)
        for found, true in zip((verdict.a, verdict.b), truth, strict=True)
    ]
    return {
        "accuracy": fmean(found is true for found, true in sides),
        "accuracy on right": _share([found is True for found, true in sides if true]),
        "accuracy on wrong": _share([found is False for found, true in sides if not true]),
        "verdicts": float(len(sides)),
        "no verdict": float(sum(found is None for found, _ in sides)),
    }


def tournament_quality(
    task: ArithmeticTask, groups: Sequence[Group], scores: Sequence[Sequence[Score]]
) -> dict[str, float]:
    """From PairJudgeReward's scores: the share of problems whose winner is right, and the judgements per problem."""
    chosen, judgements = [], []
    for row, right in zip(scores, grade(task, groups), strict=True):
        winner = next((place for place, score in enumerate(row) if score.ok and score.parts["winner"]), None)
        chosen.append(winner is not None and right[winner])
        judgements.append(next((score.parts["judgements"] for score in row if score.ok), 0.0))
    return {
        f"best-of-{len(groups[0].responses)} by tournament": fmean(map(float, chosen)),
        "judgements per problem": fmean(judgements),
    }


def _share(hits: Sequence[bool]) -> float:
    return fmean(map(float, hits)) if hits else float("nan")
