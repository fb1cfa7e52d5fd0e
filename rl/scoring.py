"""Score and grade the answers of a rollout, and select those to learn from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from rewards.grading.comparison import Undecided
from rewards.records import failures
from rewards.types import Problem, Reward, Score
from rl.progress import Display
from rl.settings import FailedScores
from rl.tasks import Task
from rl.types import AnswerGroup


def scored(groups: Sequence[AnswerGroup], reward: Reward) -> list[AnswerGroup]:
    """The groups with the reward's scores. Raises what the reward raises, and ValueError for missing scores."""
    found = reward.score([group.for_reward() for group in groups])
    return [group.with_scores(scores) for group, scores in zip(groups, found, strict=True)]


def graded(groups: Sequence[AnswerGroup], task: Task) -> list[AnswerGroup]:
    """The groups with the task's grades, independent of the reward; unchanged if the task has no reference answers.

    `correct` stays None for an answer that the task could not grade (`Undecided`).
    """
    if not task.graded:
        return list(groups)
    return [
        replace(
            group,
            answers=tuple(
                replace(answer, correct=_grade(task, group.problem, answer.sample.text)) for answer in group.answers
            ),
        )
        for group in groups
    ]


def _grade(task: Task, problem: Problem, text: str) -> bool | None:
    try:
        return bool(task.grade(problem, text))
    except Undecided:
        return None


def report_undecided(groups: Sequence[AnswerGroup], task: Task, display: Display) -> None:
    """Report how many answers the task could not grade; they count neither as correct nor as wrong."""
    grades = [answer.correct for group in groups for answer in group.answers]
    if task.graded and None in grades:
        display.event(f"{grades.count(None)} of {len(grades)} responses could not be graded; accuracy leaves them out")


def failed_scores(groups: Sequence[AnswerGroup]) -> Counter[str]:
    """How many scores failed for each reason; answers without a score do not count."""
    return failures([[answer.score for answer in group.answers if answer.score is not None] for group in groups])


def usable(groups: Sequence[AnswerGroup], failed: FailedScores) -> list[AnswerGroup]:
    """The groups to learn from, perhaps none. With `drop_group`, one failed score fails its whole group.

    Raises RuntimeError if `failed` is `stop` and a score failed.
    """
    reasons = failed_scores(groups)
    if reasons and failed == "stop":
        raise RuntimeError(f"failed_scores=stop: {describe(reasons)}")
    if failed != "drop_group":
        return list(groups)
    dropped = Score.failed("another response of the group could not be scored")
    return [
        group if all(score.ok for score in group.scores) else group.with_scores([dropped] * len(group.answers))
        for group in groups
    ]


def report_failures(reasons: Counter[str], failed: FailedScores, display: Display) -> None:
    """Report which scores failed and what happens to their responses."""
    if reasons:
        fate = {"drop_sample": "left out", "drop_group": "left out with their groups", "stop": "the run stops"}
        display.event(f"{describe(reasons)}: {fate[failed]}")


def describe(reasons: Counter[str]) -> str:
    """Describe failure counts in words: the three most frequent reasons, the most frequent first."""
    listed = "; ".join(f"{count} x {reason}" for reason, count in reasons.most_common(3))
    return f"{sum(reasons.values())} scores failed ({listed})"
