"""Held-out problems: what is said of the policy there, and what is not asked of the reward."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rewards.mixture import MixtureReward, Term
from rewards.pairjudge import PairJudgeReward
from rewards.shaping import ShapedReward
from rewards.types import Group, Problem, Reward, Score
from rewards.verdicts import Comparison, Verdict
from rewards.verifier import VerifierReward
from rl.evaluation import evaluate
from rl.metrics import Stopwatch
from rl.progress import Evaluation, Silent
from rl.run.folder import RunFolder
from rl.settings import LoggerSettings, RolloutSettings
from rl.types import AnswerGroup, Sample

PROBLEMS = [Problem(str(number), f"{number}?", answer=str(number)) for number in range(4)]


class Sampler:
    """Answers every problem with its number, but the last with another's."""

    def sample(self, problems: Sequence[Problem], n: int, **how: Any) -> list[AnswerGroup]:
        texts = [problem.id for problem in problems[:-1]] + ["7"]
        drawn = [Sample((1,), (2,), (0.0,), text, "stop", 0) for text in texts]
        return [AnswerGroup.drawn(problem, [sample]) for problem, sample in zip(problems, drawn, strict=True)]

    def forget_prefixes(self) -> None:
        pass


class Judge:
    """A judge that must not be asked."""

    def judge(self, comparisons: Sequence[Comparison]) -> list[Verdict]:
        raise AssertionError("there is nothing to compare")


class Given(Reward):
    """Gives these scores, in turn, and remembers that it was asked."""

    def __init__(self, scores: list[Score]) -> None:
        self.scores, self.asked = scores, 0

    def score(self, groups: Sequence[Group]) -> list[list[Score]]:
        self.asked += 1
        return [[score] for score in self.scores]


def evaluated(reward: Any, folder: Path) -> tuple[Evaluation, list[dict], list[dict]]:
    """The evaluation, and the lines it left in metrics.jsonl and samples.jsonl."""
    run = RunFolder(folder / "run", LoggerSettings(tensorboard=False))
    task = SimpleNamespace(graded=True, grade=lambda problem, text: text == problem.answer)
    settings = SimpleNamespace(rollout=RolloutSettings(), reward=reward, task=task)
    parts = SimpleNamespace(
        settings=settings, sampler=Sampler(), reward=reward, run=run, display=Silent(), watch=Stopwatch()
    )
    found = evaluate(0, PROBLEMS, parts)  # type: ignore[arg-type]
    read = [(run.path / name).read_text().splitlines() for name in ("metrics.jsonl", "samples.jsonl")]
    metrics, samples = ([json.loads(line) for line in lines] for lines in read)
    return found, metrics, samples


def test_a_reward_that_compares_responses_is_not_asked_about_one_and_nothing_counts_as_failed(tmp_path: Path) -> None:
    found, (metrics,), samples = evaluated(PairJudgeReward(Judge()), tmp_path)
    assert (found.accuracy, found.reward, found.failed) == (0.75, None, 0)
    assert "failures" not in metrics and "reward/held_out" not in metrics
    assert len(samples) == 4 and all(row["score"] is None for row in samples)


@pytest.mark.parametrize(("good", "mean"), [(1, 0.5), (0, None)])
def test_scores_that_really_failed_are_counted(tmp_path: Path, good: int, mean: float | None) -> None:
    reward = Given([Score.of(0.5)] * good + [Score.failed("no step")] * (4 - good))
    found, (metrics,), _ = evaluated(reward, tmp_path)
    assert reward.asked == 1 and found.reward == mean
    assert found.failed == 4 - good and metrics["failures"] == {"no step": 4 - good}


def test_a_reward_compares_responses_where_anything_it_is_made_of_does() -> None:
    judged, plain = PairJudgeReward(Judge()), VerifierReward()
    assert judged.compares_responses and not plain.compares_responses
    assert ShapedReward(judged).compares_responses and not ShapedReward(plain).compares_responses
    assert ShapedReward(plain, centre="group").compares_responses, "alone, every response is its group's mean"
    both = {"judge": Term(judged), "truth": Term(plain)}
    assert MixtureReward(both).compares_responses and not MixtureReward({"truth": Term(plain)}).compares_responses
    assert MixtureReward({"truth": Term(plain)}, combine="normalised").compares_responses
