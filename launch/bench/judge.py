"""The judge's part of `launch.bench.rewards`: a knockout in batches against match by match."""

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
    """A judge asked one comparison at a time, as a program does that plays match by match."""

    judge_of_all: Judge

    def judge(self, comparisons: Sequence[Comparison]) -> list[Verdict]:
        """The same verdicts, one call each."""
        return [verdict for comparison in comparisons for verdict in self.judge_of_all.judge([comparison])]


def measure_judge(options: Options, table: Table) -> str:
    """Add the rows of the judge; returns a line about judgements. An eighth of the groups is played match by match."""
    judge = open_judge(options.judge)
    groups = make_rollout(options.groups)
    judge.judge([Comparison("warm", "up", "1")])
    few = groups[: max(options.groups // 8, 1)]
    fast = once(lambda: PairJudgeReward(judge).score(groups))
    slow = once(lambda: match_by_match(judge, few)) * len(groups) / len(few)
    row(table, "PairJudge knockout of 8, match by match", slow, len(groups), slow)
    row(table, "PairJudge knockout of 8, all groups in step", fast, len(groups), slow)
    counts = judgements(PairJudgeReward(judge), groups)
    return f"judgements a group of 8: {sum(counts) / len(counts):.2f} on average, {max(counts):.0f} at most"


def match_by_match(judge: Judge, groups: Sequence[Group]) -> None:
    """Every group by itself, every match by itself."""
    reward = PairJudgeReward(OneByOne(judge))
    for group in groups:
        reward.score([group])


def judgements(reward: PairJudgeReward, groups: Sequence[Group]) -> list[float]:
    """How many judgements each group took."""
    return [max(score.parts.get("judgements", 0.0) for score in row if score.ok) for row in reward.score(groups)]
