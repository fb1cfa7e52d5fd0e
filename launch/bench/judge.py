"""The judge's part of `launch.bench.rewards`: a knockout in batches, against one match at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

from launch.bench.subjects import Options, make_rollout
from launch.bench.timing import once, row
from rewards.pairjudge import PairJudgeReward
from rewards.types import Group
from rewards.verdicts import Comparison, Judge, Verdict
from rl.tasks.arithmetic.workshop.measuring import open_judge


@dataclass(frozen=True)
class OneByOne:
    """A judge that is asked one comparison at a time, as in a program without batching."""

    judge_of_all: Judge

    def judge(self, comparisons: Sequence[Comparison]) -> list[Verdict]:
        """The same verdicts, from one call per comparison."""
        return [verdict for comparison in comparisons for verdict in self.judge_of_all.judge([comparison])]


def measure_judge(options: Options, table: Table) -> str:
    """Add the judge's rows to the table and return a line about its judgements.

    Playing one match at a time is measured on an eighth of the groups.
    """
    judge = open_judge(options.judge)
    groups = make_rollout(options.groups)
    judge.judge([Comparison("warm", "up", "1")])
    few = groups[: max(options.groups // 8, 1)]
    fast = once(lambda: PairJudgeReward(judge).score(groups))
    slow = once(lambda: match_by_match(judge, few)) * len(groups) / len(few)
    row(table, "PairJudge knockout of 8, one match at a time", slow, len(groups), slow)
    row(table, "PairJudge knockout of 8, all groups together", fast, len(groups), slow)
    counts = judgements(PairJudgeReward(judge), groups)
    return f"judgements per group of 8: {sum(counts) / len(counts):.2f} on average, {max(counts):.0f} at most"


def match_by_match(judge: Judge, groups: Sequence[Group]) -> None:
    """Score one group at a time, and play one match at a time."""
    reward = PairJudgeReward(OneByOne(judge))
    for group in groups:
        reward.score([group])


def judgements(reward: PairJudgeReward, groups: Sequence[Group]) -> list[float]:
    """The number of judgements each group took."""
    return [max(score.parts.get("judgements", 0.0) for score in row if score.ok) for row in reward.score(groups)]
