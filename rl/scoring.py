"""Rollouts and what is said of them: as rewards know them, what is true of them, which of their scores can be used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rewards.types import Group, Response, Score
from rl.metrics import failures
from rl.progress import Display
from rl.settings import FailedScores
from rl.tasks import Task
from rl.types import Rollout


def as_groups(rollout: Rollout) -> list[Group]:
    """The rollout as rewards know it: problems with the texts of their responses."""
    return [
        Group(problem, tuple(Response(sample.text, sample.finish_reason) for sample in samples))
        for problem, samples in zip(rollout.problems, rollout.samples, strict=True)
    ]


def truth(task: Task, rollout: Rollout) -> list[list[bool]] | None:
    """The task's verdict on every response: what is true, whatever the reward says. None where it has none."""
    if not getattr(task, "graded", True):
        return None
    return [
        [task.grade(problem, sample.text) for sample in samples]
        for problem, samples in zip(rollout.problems, rollout.samples, strict=True)
    ]


def usable_scores(scores: Sequence[Sequence[Score]], failed_scores: FailedScores) -> list[list[Score]]:
    """The scores to learn from: with `drop_group`, one failure fails its whole group. There may be none left.

    Raises RuntimeError when the choice is `stop` and one failed.
    """
    reasons = failures(scores)
    if reasons and failed_scores == "stop":
        raise RuntimeError(f"failed_scores=stop: {describe(reasons)}")
    if failed_scores == "drop_group":
        dropped = Score.failed("another response of the group could not be scored")
        return [list(group) if all(score.ok for score in group) else [dropped] * len(group) for group in scores]
    return [list(group) for group in scores]


def report_failures(reasons: Counter[str], failed_scores: FailedScores, display: Display) -> None:
    """Say on the display which scores failed, and what becomes of them."""
    if reasons:
        fate = {"drop_sample": "left out", "drop_group": "left out with their groups", "stop": "the run stops"}
        display.event(f"{describe(reasons)}: {fate[failed_scores]}")


def describe(reasons: Counter[str]) -> str:
    """Failure counts in words, the most frequent first."""
    listed = "; ".join(f"{count} x {reason}" for reason, count in reasons.most_common(3))
    return f"{sum(reasons.values())} scores failed ({listed})"
