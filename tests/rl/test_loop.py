"""One learner update from scored responses, round a learner that only remembers what it was asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from rewards.types import Group, Problem, Reward, Score
from rl.algorithms.dpo import DPO
from rl.algorithms.grpo import GRPO
from rl.algorithms.ppo import PPO
from rl.collect import Rollout
from rl.hacking.signs import WINDOW
from rl.loop import learn, rounds
from rl.metrics import Stopwatch
from rl.parts import Parts
from rl.progress import Silent, Summary
from rl.run.folder import RunFolder
from rl.run_settings import RunSettings
from rl.settings import (
    ClusterSettings,
    FailedScores,
    LearnerSettings,
    LoggerSettings,
    LoopSettings,
    PolicySettings,
    RolloutSettings,
)
from rl.source import Source
from rl.sync import WeightsDidNotArrive
from rl.types import AnswerGroup, Preferences, Sample, TrainBatch
from tests.rl.algorithms.scored import scored_batch
from tests.tiny import make_tokenizer


class Learner:
    """Answers with the sampler's own log-probabilities; `calls` says what was asked in which order."""

    def __init__(self, off_by: float = 0.0) -> None:
        self.calls: list[str] = []
        self.data: TrainBatch | Preferences | None = None
        self.off_by = off_by

    def with_logprobs(self, batch: TrainBatch) -> TrainBatch:
        self.calls.append("logprobs")
        zeros = torch.zeros_like(batch.behaviour_logprobs)
        policy = batch.behaviour_logprobs + self.off_by * batch.response_mask
        return replace(batch, old_logprobs=policy, reference_logprobs=zeros, values=zeros)

    def update(self, data: TrainBatch | Preferences, seed: int) -> dict[str, float]:
        self.calls.append("update")
        self.data = data
        return {"loss": 0.5, "gap_mean": self.off_by, "gap_max": self.off_by}

    def refresh_reference(self) -> None:
        self.calls.append("refresh")

    def weights(self) -> list[Any]:
        return []

    def save_policy(self, folder: Path, ema: bool = False) -> None:
        self.calls.append(f"save {folder.name}")


class Listening(Silent):
    def __init__(self) -> None:
        self.events: list[str] = []

    def event(self, text: str) -> None:
        self.events.append(text)


def learnt(
    algorithm,
    values: list[list[float | None]],
    update: int = 1,
    learner: Learner | None = None,
    minibatches: int = 1,
    display: Silent | None = None,
):
    """What `learn` says of these scores (None: failed), and the learner that was asked."""
    learner = learner or Learner()
    scored = scored_batch([[Score.failed("x") if one is None else Score.of(one) for one in group] for group in values])
    settings = SimpleNamespace(
        loop=LoopSettings(),
        policy=PolicySettings("p"),
        algorithm=algorithm,
        learner=LearnerSettings(minibatches=minibatches),
    )
    parts = SimpleNamespace(
        settings=settings,
        learner=learner,
        sampler=SimpleNamespace(tokenizer=make_tokenizer()),
        display=display or Silent(),
    )
    groups = [
        AnswerGroup.drawn(
            group.problem, [replace(sample, weight_version=update - 1) for sample in group.samples]
        ).with_scores(group.scores)
        for group in scored.groups
    ]
    drawn = Rollout(update, groups, groups)
    return learn(parts, drawn), learner


@pytest.mark.parametrize("algorithm", [GRPO(), GRPO(kl_in="reward"), PPO(), DPO()])
def test_every_algorithm_gives_the_learner_something_to_train_on(algorithm) -> None:
    metrics, learner = learnt(algorithm, [[1.0, 0.0], [0.0, 1.0]])
    assert learner.calls == (["logprobs", "update"] if algorithm.needs_old_logprobs else ["update"])
    assert metrics["learner/loss"] == 0.5 and metrics["learner/rows"] == len(learner.data)
    assert any(name.startswith("credit/") for name in metrics)


def test_an_update_without_a_pair_is_skipped_and_reported() -> None:
    metrics, learner = learnt(DPO(), [[1.0, 1.0]])
    assert learner.calls == []
    assert metrics["learner/rows"] == 0 and "learner/loss" not in metrics
    assert metrics["learner/skipped"] == 1


@pytest.mark.parametrize("algorithm", [GRPO(), PPO(), DPO()])
def test_an_update_without_a_usable_score_is_skipped_and_reported(algorithm) -> None:
    display = Listening()
    metrics, learner = learnt(algorithm, [[None, None]], display=display)
    assert learner.calls == []
    assert metrics == {"reward/usable": 0, "learner/skipped": 1}
    assert display.events == ["skipped update 1: none of its scores is usable"]


@pytest.mark.parametrize(("values", "left_out"), [([[1.0, None], [None, 0.0]], 1), ([[1.0, 0.0], [0.0, 1.0]], 0)])
def test_fewer_rows_than_minibatches_are_used_counted_and_reported(values, left_out) -> None:
    display = Listening()
    metrics, learner = learnt(GRPO(), values, minibatches=3, display=display)
    assert learner.calls == ["update"]
    assert (metrics["learner/minibatches_left_out"], metrics["learner/skipped"]) == (left_out, 0)
    said = ["update 1 has 2 responses to learn from: 2 minibatches, not 3"]
    assert display.events == (said if left_out else [])


@pytest.mark.parametrize(("every", "refreshed"), [(0, []), (1, []), (2, [3, 5])])
def test_the_reference_becomes_the_policy_at_the_start_of_each_iteration(every, refreshed) -> None:
    """With an iteration of one update the learner has no reference: it is the policy before the update."""
    found = []
    for update in range(1, 6):
        _, learner = learnt(DPO(refresh_every=every), [[1.0, 0.0]], update)
        if "refresh" in learner.calls:
            assert learner.calls[0] == "refresh", "before anything is measured against it"
            found.append(update)
    assert found == refreshed


@pytest.mark.parametrize("algorithm", [GRPO(), DPO()])
def test_weights_that_did_not_arrive_stop_the_run_at_the_update(algorithm) -> None:
    with pytest.raises(WeightsDidNotArrive):
        learnt(algorithm, [[1.0, 0.0]], learner=Learner(off_by=0.1))


class Sampler:
    """Draws the same words for every problem, with the weights it was given last."""

    tokenizer = make_tokenizer()

    def __init__(self) -> None:
        self.version = 0

    def sample(self, problems: Sequence[Problem], n: int, **how: Any) -> list[AnswerGroup]:
        drawn = [Sample((1,), (7, 8), (0.0, 0.0), "ab", "stop", self.version)] * n
        return [AnswerGroup.drawn(problem, drawn) for problem in problems]

    def load_weights(self, buckets: list[Any], version: int) -> None:
        self.version = version

    def forget_prefixes(self) -> None:
        pass


class Broken(Reward):
    """Scores the first of a group 1 and the others 0; fails in the rollouts `broken` (0 is the first evaluation)."""

    def __init__(self, broken: Sequence[int], raises: Mapping[int, BaseException] | None = None) -> None:
        self.broken, self.asked, self.raises = broken, -1, raises or {}
        self.replaced = 0

    def score(self, groups: Sequence[Group]) -> list[list[Score]]:
        self.asked += 1
        if self.asked in self.raises:
            raise self.raises[self.asked]
        failed = self.asked in self.broken
        return [
            [Score.failed("no answer") if failed else Score.of(float(not place)) for place in range(len(one.responses))]
            for one in groups
        ]


def run_through(
    folder: Path,
    broken: Sequence[int],
    updates: int,
    display: Listening,
    *,
    algorithm: GRPO | None = None,
    failed_scores: FailedScores = "drop_sample",
    change: Callable[[Parts], None] = lambda parts: None,
    grade: Callable[[Problem, str], bool] | None = None,
    make_source: type[Source] = Source,
) -> tuple[Summary, Learner]:
    """A run of GRPO whose reward fails in these updates, without processes. Evaluated before and after only.

    `change` may break a part before the run starts.
    """
    parts = run_parts(folder, updates, display, broken, algorithm=algorithm, failed_scores=failed_scores, grade=grade)
    change(parts)
    return rounds(parts, make_source), parts.learner  # type: ignore[return-value]


def run_parts(
    folder: Path,
    updates: int,
    display: Silent | None = None,
    broken: Sequence[int] = (),
    *,
    algorithm: GRPO | None = None,
    failed_scores: FailedScores = "drop_sample",
    grade: Callable[[Problem, str], bool] | None = None,
) -> Parts:
    """The parts of a run, none of them a process."""
    display = display or Silent()
    problems = [Problem(str(number), "?") for number in range(4)]
    task = SimpleNamespace(
        graded=grade is not None,
        grade=grade,
        held_out_problems=lambda count: problems[:2],
        train_problems=lambda seed: (problems[number % 4] for number in count()),
    )
    settings = RunSettings(
        loop=LoopSettings(updates=updates, evaluate_every=0, checkpoint_every=0, failed_scores=failed_scores),
        policy=PolicySettings("p"),
        rollout=RolloutSettings(problems=2, responses=2),
        learner=LearnerSettings(),
        cluster=ClusterSettings(),
        logger=LoggerSettings(tensorboard=False),
        algorithm=algorithm or GRPO(),
        task=task,
        reward=Broken([]),
        reward_config={},
    )
    run = RunFolder(folder / "run", settings.logger)
    return Parts(settings, Sampler(), Learner(), Broken(broken), run, display, Stopwatch(display))  # type: ignore


def test_a_rollout_whose_scores_all_fail_skips_one_update_and_the_run_continues(tmp_path: Path) -> None:
    display = Listening()
    summary, learner = run_through(tmp_path, broken=[2, 3, 5, 6], updates=6, display=display)
    assert (summary.skipped, learner.calls.count("update")) == (4, 2)
    assert dict(summary.failures) == {"no answer": 16}
    assert sum(event.startswith("skipped update") for event in display.events) == 4


def test_three_updates_in_a_row_without_a_score_stop_the_run_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"no usable score in 3 updates in a row.*4 x no answer"):
        run_through(tmp_path, broken=range(2, 20), updates=6, display=Listening())
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 5, "all that was drawn is kept"


def test_a_run_that_never_learned_anything_ends_with_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"nothing was learned: 2 of 2 updates were skipped; 8 scores failed"):
        run_through(tmp_path, broken=range(20), updates=2, display=Listening())


def raises(error: BaseException) -> Callable[..., Any]:
    def call(*_: Any, **__: Any) -> Any:
        raise error

    return call


def in_update_2(method: Callable[..., Any], error: BaseException) -> Callable[..., Any]:
    """The method, but its second call raises."""
    calls = count(1)
    return lambda *words, **names: raises(error)() if next(calls) == 2 else method(*words, **names)


def samplers_weights_differ(parts: Parts) -> None:
    load = parts.sampler.load_weights
    parts.sampler.load_weights = lambda buckets, version, **how: load(buckets, version + 7, **how)  # type: ignore


def probabilities_differ(parts: Parts) -> None:
    parts.learner.off_by = 0.1  # type: ignore[attr-defined]


def loss_is_not_finite(parts: Parts) -> None:
    parts.learner.update = in_update_2(parts.learner.update, RuntimeError("loss is nan"))  # type: ignore


def person_stops(parts: Parts) -> None:
    parts.learner.update = in_update_2(parts.learner.update, KeyboardInterrupt())  # type: ignore


def sync_fails(parts: Parts) -> None:
    parts.sampler.load_weights = in_update_2(parts.sampler.load_weights, RuntimeError("engine died"))  # type: ignore


def reward_gives_up(parts: Parts) -> None:
    parts.reward.raises = {2: TimeoutError("too slow")}  # type: ignore[attr-defined]


def reward_is_interrupted(parts: Parts) -> None:
    parts.reward.raises = {2: KeyboardInterrupt()}  # type: ignore[attr-defined]


@pytest.mark.parametrize("dynamic_sampling", [0, 2])
@pytest.mark.parametrize(
    ("change", "last"),
    [
        (None, 2),
        (samplers_weights_differ, 1),
        (probabilities_differ, 1),
        (loss_is_not_finite, 2),
        (person_stops, 2),
        (sync_fails, 2),
        (reward_gives_up, 2),
        (reward_is_interrupted, 2),
    ],
)
def test_the_last_responses_are_in_samples_whatever_stops_the_run(
    tmp_path: Path, change, last, dynamic_sampling
) -> None:
    with pytest.raises(BaseException) as stop:
        run_through(
            tmp_path,
            broken=[] if change else [2],
            updates=3,
            display=Listening(),
            algorithm=GRPO(dynamic_sampling=dynamic_sampling),
            failed_scores="stop",
            change=change or (lambda parts: None),
        )
    assert isinstance(stop.value, RuntimeError | TimeoutError | KeyboardInterrupt)
    rows = [json.loads(line) for line in (tmp_path / "run" / "samples.jsonl").read_text().splitlines()]
    drawn = [row for row in rows if row["stage"] == "train"]
    assert [row["update"] for row in drawn] == [update for update in range(1, last + 1) for _ in range(4)]
    assert all("value" in row["score"] or row["score"]["failure"] for row in drawn)


def test_responses_are_saved_if_grading_fails(tmp_path: Path) -> None:
    calls = count()

    def grade(problem: Problem, text: str) -> bool:
        return raises(ZeroDivisionError("in the grader"))() if next(calls) >= 2 + 4 else True

    with pytest.raises(ZeroDivisionError):
        run_through(tmp_path, broken=[], updates=3, display=Listening(), grade=grade)
    rows = [json.loads(line) for line in (tmp_path / "run" / "samples.jsonl").read_text().splitlines()]
    assert [row["correct"] for row in rows if row["update"] == 2] == [None] * 4


def test_responses_are_saved_if_scoring_an_evaluation_fails(tmp_path: Path) -> None:
    def change(parts: Parts) -> None:
        parts.reward.raises = {0: TimeoutError("too slow")}  # type: ignore[attr-defined]

    with pytest.raises(TimeoutError):
        run_through(tmp_path, broken=[], updates=1, display=Listening(), change=change)
    rows = [json.loads(line) for line in (tmp_path / "run" / "samples.jsonl").read_text().splitlines()]
    assert [(row["update"], row["stage"], row["response"]) for row in rows] == [(0, "evaluate", "ab")] * 2


def test_a_replaced_replica_is_counted_in_its_update(tmp_path: Path) -> None:
    def change(parts: Parts) -> None:
        score = parts.reward.score

        def dying(groups: Sequence[Group]) -> list[list[Score]]:
            parts.reward.replaced += parts.reward.asked == 1  # in update 2; 0 is the evaluation's call
            return score(groups)

        parts.reward.score = dying  # type: ignore[method-assign]

    run_through(tmp_path, broken=[], updates=3, display=Listening(), change=change)
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["reward/replaced"] for row in rows if "reward/mean" in row] == [0, 1, 0]


class Forgetting:
    """Grades the first `good` answers as correct and all later ones as wrong."""

    def __init__(self, good: int) -> None:
        self.left = good

    def __call__(self, problem: Problem, text: str) -> bool:
        self.left -= 1
        return self.left >= 0


def with_loop(**options: Any) -> Callable[[Parts], None]:
    def change(parts: Parts) -> None:
        loop = replace(parts.settings.loop, **options)
        parts.settings = replace(parts.settings, loop=loop)

    return change


def test_stop_when_ends_the_run_at_the_sign_and_keeps_the_best_policy(tmp_path: Path) -> None:
    display = Listening()
    change = with_loop(stop_when=("truth_falls",))
    grade = Forgetting(good=2 + 6 * 4)  # the first evaluation and six updates
    summary, learner = run_through(tmp_path, [], 30, display, change=change, grade=grade)
    assert 2 * WINDOW <= summary.updates < 20
    assert summary.stopped is not None and summary.stopped.startswith(f"truth_falls at update {summary.updates}")
    assert summary.after.update == summary.updates
    assert learner.calls.count("save best_policy") == 1, "only the first evaluation was the best"
    assert any("stop_when ends the run" in event for event in display.events)
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["update"] == summary.updates


def test_without_stop_when_a_sign_is_an_event_and_the_run_continues(tmp_path: Path) -> None:
    display = Listening()
    summary, learner = run_through(tmp_path, [], 20, display, grade=Forgetting(good=26))
    assert (summary.updates, summary.stopped) == (20, None)
    told = [event for event in display.events if "the reward may be exploited (truth_falls)" in event]
    assert len(told) == 1
    assert "save best_policy" not in learner.calls


def test_watched_rewards_score_every_rollout_and_change_nothing(tmp_path: Path) -> None:
    def watch(parts: Parts) -> None:
        parts.watched = {"other": Broken([1])}  # type: ignore[dict-item]

    alone, _ = run_through(tmp_path / "alone", [], 3, Listening())
    summary, _ = run_through(tmp_path / "watched", [], 3, Listening(), change=watch)
    assert summary.after.metrics() == alone.after.metrics()
    rows = [json.loads(line) for line in (tmp_path / "watched/run/metrics.jsonl").read_text().splitlines()]
    failed = [row["watch/other/failed"] for row in rows if "watch/other/failed" in row]
    assert failed == [0.0, 4.0, 0.0]
    assert rows[1]["watch/other/agreement"] == 1.0
