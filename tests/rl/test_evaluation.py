"""Held-out problems: what is said of the policy there, and what is not asked of the reward."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rewards.mixture import MixtureReward, Term
from rewards.pairjudge import PairJudgeReward
from rewards.shaping import ShapedReward
from rewards.types import Group, Problem, Reward, Score
from rewards.verdicts import Comparison, Verdict
from rewards.verifier import VerifierReward
from rl.evaluation import accuracies, evaluate
from rl.metrics import Stopwatch
from rl.progress import Evaluation, Silent
from rl.run.folder import RunFolder
from rl.settings import EvaluationSettings, LoggerSettings, RolloutSettings
from rl.types import AnswerGroup, Sample

ONE_EACH = EvaluationSettings()
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


def evaluated(
    reward: Any, folder: Path, evaluate_settings: EvaluationSettings = ONE_EACH, sampler: Any = None
) -> tuple[Evaluation, list[dict], list[dict]]:
    """The evaluation, and the lines it left in metrics.jsonl and samples.jsonl."""
    run = RunFolder(folder / "run", LoggerSettings(tensorboard=False))
    task = SimpleNamespace(graded=True, grade=lambda problem, text: text == problem.answer)
    settings = SimpleNamespace(rollout=RolloutSettings(), reward=reward, task=task, evaluate=evaluate_settings)
    parts = SimpleNamespace(
        settings=settings, sampler=sampler or Sampler(), reward=reward, run=run, display=Silent(), watch=Stopwatch()
    )
    found = evaluate(0, PROBLEMS, parts)  # type: ignore[arg-type]
    read = [(run.path / name).read_text().splitlines() for name in ("metrics.jsonl", "samples.jsonl")]
    metrics, samples = ([json.loads(line) for line in lines] for lines in read)
    return found, metrics, samples


def test_a_reward_that_compares_responses_is_not_asked_about_a_single_one_and_nothing_fails(tmp_path: Path) -> None:
    found, (metrics,), samples = evaluated(PairJudgeReward(Judge()), tmp_path)
    assert (found.accuracy, found.reward, found.failed) == (0.75, None, 0)
    assert "failures" not in metrics and "reward/held_out" not in metrics
    assert len(samples) == 4 and all(row["score"] is None for row in samples)


@pytest.mark.parametrize(("good", "mean"), [(1, 0.5), (0, None)])
def test_failed_scores_are_counted(tmp_path: Path, good: int, mean: float | None) -> None:
    reward = Given([Score.of(0.5)] * good + [Score.failed("no step")] * (4 - good))
    found, (metrics,), _ = evaluated(reward, tmp_path)
    assert reward.asked == 1 and found.reward == mean
    assert found.failed == 4 - good and metrics["failures"] == {"no step": 4 - good}


def test_a_reward_compares_responses_if_any_of_its_parts_does() -> None:
    judged, plain = PairJudgeReward(Judge()), VerifierReward()
    assert judged.compares_responses and not plain.compares_responses
    assert ShapedReward(judged).compares_responses and not ShapedReward(plain).compares_responses
    assert ShapedReward(plain, centre="group").compares_responses, "alone, every response is its group's mean"
    both = {"judge": Term(judged), "truth": Term(plain)}
    assert MixtureReward(both).compares_responses and not MixtureReward({"truth": Term(plain)}).compares_responses
    assert MixtureReward({"truth": Term(plain)}, combine="normalised").compares_responses


class Several:
    """Answers the i-th problem right i times, and remembers how it was asked."""

    def sample(self, problems: Sequence[Problem], n: int, **how: Any) -> list[AnswerGroup]:
        self.asked = {"n": n, **how}
        return [
            AnswerGroup.drawn(p, [Sample((1,), (2,), (0.0,), p.id if j < i else "no", "stop", 0) for j in range(n)])
            for i, p in enumerate(problems)
        ]

    def forget_prefixes(self) -> None:
        pass


def test_an_evaluation_is_sampled_like_a_rollout_by_default() -> None:
    rollout = RolloutSettings(temperature=0.7, top_p=0.9, top_k=5, min_p=0.1, max_new_tokens=60)
    assert EvaluationSettings().sampling(rollout) == {**rollout.sampling, "max_new_tokens": 60}
    own = EvaluationSettings(temperature=0.3, top_p=1.0, top_k=0, min_p=0.0, max_new_tokens=99)
    expected = {"temperature": 0.3, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "max_new_tokens": 99}
    assert own.sampling(rollout) == expected
    assert EvaluationSettings(temperature=0).sampling(rollout) == {"greedy": True, "max_new_tokens": 60}


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"responses": 0}, "responses"),
        ({"temperature": 0.0, "responses": 4}, "responses=1"),
        ({"temperature": 0.0, "top_p": 0.5}, "top_p"),
        ({"temperature": 0.001}, "temperature"),
        ({"temperature": -1.0}, "temperature"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_k": -1}, "top_k"),
        ({"min_p": 2.0}, "min_p"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
    ],
)
def test_bad_evaluation_settings_are_refused_by_key(options: dict, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        EvaluationSettings(**options)


def test_several_responses_give_the_mean_accuracy_and_pass_at_k_with_intervals(tmp_path: Path) -> None:
    sampler, reward = Several(), VerifierReward()
    found, (metrics,), samples = evaluated(reward, tmp_path, EvaluationSettings(responses=6), sampler)
    assert sampler.asked["n"] == 6 and len(samples) == 24 and found.responses == 6
    assert found.accuracy == metrics["accuracy/held_out"] == pytest.approx((0 + 1 + 2 + 3) / 24)
    for size in (2, 4, 6):  # against a count of all subsets
        share = [
            np.mean([any(place < right for place in subset) for subset in combinations(range(6), size)])
            for right in range(4)
        ]
        name = f"accuracy/held_out_pass_at_{size}"
        assert metrics[name] == pytest.approx(np.mean(share))
        assert metrics[f"{name}_low"] <= metrics[name] <= metrics[f"{name}_high"]
    assert metrics["accuracy/held_out_low"] <= found.accuracy <= metrics["accuracy/held_out_high"]
    assert {name for name in metrics if "pass_at" in name and name[-1].isdigit()} == {
        f"accuracy/held_out_pass_at_{size}" for size in (2, 4, 6)
    }


def test_a_reward_that_compares_responses_is_asked_about_several(tmp_path: Path) -> None:
    class Compares(VerifierReward):
        compares_responses = True

    found, _, _ = evaluated(Compares(), tmp_path, EvaluationSettings(responses=2), Several())
    assert found.reward is not None


def test_answers_that_could_not_be_graded_are_left_out_of_all_figures() -> None:
    groups = [
        replace(
            group,
            answers=tuple(replace(answer, correct=grade) for answer, grade in zip(group.answers, grades, strict=True)),
        )
        for group, grades in zip(
            Several().sample(PROBLEMS[:3], 2), [(True, False), (None, True), (None, None)], strict=True
        )
    ]
    found = accuracies(groups)
    assert found["accuracy/held_out_pass_at_2"] == 1.0, "the only problem that is graded whole is solved"
    nothing = [replace(group, answers=groups[2].answers) for group in groups]
    assert accuracies(nothing) == {}


def test_one_response_gives_an_interval_and_no_pass_at_k() -> None:
    graded = [
        replace(group, answers=tuple(replace(answer, correct=True) for answer in group.answers))
        for group in Several().sample(PROBLEMS, 1)
    ]
    assert accuracies(graded) == {"accuracy/held_out_low": 1.0, "accuracy/held_out_high": 1.0}
