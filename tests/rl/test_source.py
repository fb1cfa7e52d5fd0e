"""Where rollouts come from: what they take of the task's problems, how old they may be, and another kind of source."""

from __future__ import annotations

import json
from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from itertools import count
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from rewards.types import Problem, Score
from rl.algorithms.grpo import GRPO
from rl.collect import Rollout
from rl.parts import Parts
from rl.progress import Evaluation
from rl.run.checkpoint import LoopState
from rl.source import Ahead, Source, check_age, source_for
from rl.types import AnswerGroup, Sample
from tests.rl.test_loop import Listening, run_parts, run_through


def samples(*versions: int) -> list[AnswerGroup]:
    drawn = [Sample((1,), (2,), (0.0,), "a", "stop", version) for version in versions]
    return [AnswerGroup.drawn(Problem("p", "?"), drawn)]


def state(update: int = 0, problems: int = 0) -> LoopState:
    none = Evaluation(0, None, None, 0.0, 0)
    return LoopState(none, none, update, problems)


@pytest.mark.parametrize("dynamic_sampling", [0, 2])
def test_each_rollout_has_the_number_of_problems_taken_so_far(tmp_path: Path, dynamic_sampling: int) -> None:
    parts = run_parts(tmp_path, updates=3, algorithm=GRPO(dynamic_sampling=dynamic_sampling))
    rollouts = list(Source(parts, state()))
    assert [rollout.update for rollout in rollouts] == [1, 2, 3]
    assert [rollout.problems for rollout in rollouts] == [2, 4, 6]


def test_a_source_continues_with_the_next_problems(tmp_path: Path) -> None:
    parts = run_parts(tmp_path, updates=4)
    (rollout,) = Source(parts, state(update=3, problems=5))
    assert [group.problem.id for group in rollout.groups] == ["1", "2"]  # of 0, 1, 2, 3, 0, 1, ...
    assert (rollout.update, rollout.problems) == (4, 7)


@pytest.mark.parametrize(
    ("versions", "update", "max_age", "present"),
    [([3], 4, 0, True), ([3, 3], 4, 1, True), ([2], 4, 1, False), ([2, 3], 4, 1, False), ([0], 1, 1, True)],
)
def test_samples_may_be_as_old_as_the_bound(versions: Sequence[int], update: int, max_age: int, present: bool) -> None:
    assert check_age(samples(*versions), update, max_age) is present


@pytest.mark.parametrize(
    ("versions", "max_age", "message"),
    [
        ([2, 3], 0, r"update 4: samples were drawn with the weights of sync \[2\], expected 3"),
        ([1, 3], 1, r"sync \[1\], expected 2 to 3"),
        ([4], 1, r"sync \[4\], expected 2 to 3"),
    ],
)
def test_samples_beyond_the_bound_stop_the_update(versions: Sequence[int], max_age: int, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        check_age(samples(*versions), 4, max_age)


class TwoTurns(Source):
    """Problems of two turns: the policy says 7, somebody else 8, 8, the policy 9."""

    def fill(self, rollout: Rollout, parts: Parts) -> None:
        for _ in range(2):
            problem = next(self._problems)
            drawn = Sample(
                (1,),
                (7, 8, 8, 9),
                (-1.0, 0.0, 0.0, -1.0),
                "abcd",
                "stop",
                parts.sampler.version,
                loss_mask=(True, False, False, True),
            )
            group = AnswerGroup.drawn(problem, [drawn, drawn]).with_scores([Score.of(1.0), Score.of(0.0)])
            rollout.groups.append(group)
        rollout.kept, rollout.problems = rollout.groups, self._taken


def test_another_source_can_be_used_without_changing_the_loop(tmp_path: Path) -> None:
    summary, learner = run_through(tmp_path, [], 2, Listening(), make_source=TwoTurns)
    assert summary.skipped == 0 and learner.calls.count("update") == 2
    assert learner.data.response_mask.tolist() == [[False, True, False, False, True]] * 4
    advantages = learner.data.advantages
    assert (advantages[:, 2:4] == 0).all() and (advantages[:, [1, 4]] != 0).all()
    rows = [json.loads(line) for line in (tmp_path / "run" / "samples.jsonl").read_text().splitlines()]
    assert [row["update"] for row in rows if row["stage"] == "train"] == [1] * 4 + [2] * 4


def lines(folder: Path, name: str) -> list[dict]:
    return [json.loads(line) for line in (folder / "run" / name).read_text().splitlines()]


@pytest.mark.parametrize(("ahead", "kind"), [(0, Source), (1, Ahead)])
def test_the_setting_chooses_the_source(tmp_path: Path, ahead: int, kind: type[Source]) -> None:
    parts = run_parts(tmp_path, updates=1)
    parts.settings = replace(parts.settings, rollout=replace(parts.settings.rollout, ahead=ahead))
    assert type(source_for(parts, state())) is kind


def test_ahead_every_rollout_except_the_first_is_one_sync_older(tmp_path: Path) -> None:
    summary, learner = run_through(tmp_path, [], 4, Listening(), make_source=Ahead)
    assert summary.skipped == 0 and learner.calls.count("update") == 4
    drawn = {
        row["update"]: row["weight_version"] for row in lines(tmp_path, "samples.jsonl") if row["stage"] == "train"
    }
    assert drawn == {1: 0, 2: 0, 3: 1, 4: 2}
    updates = [row for row in lines(tmp_path, "metrics.jsonl") if "reward/mean" in row]
    assert ["sync/gap_mean" in row for row in updates] == [True, False, False, False]
    assert ["rollout/gap_mean" in row for row in updates] == [False, True, True, True]
    assert all({"time/wait", "ahead/sample", "ahead/score"} <= row.keys() for row in updates)


def test_ahead_the_next_rollout_is_scored_during_learning_and_before_the_weights_change(
    tmp_path: Path,
) -> None:
    """The learner's first update waits for the second rollout's scores: it would wait for ever if they came later."""
    scored, syncs = Event(), []

    def change(parts: Parts) -> None:
        score, update, load = parts.reward.score, parts.learner.update, parts.sampler.load_weights
        calls = count()  # 0 is the first evaluation's, 1 the first rollout's

        def slow_score(groups: Any) -> Any:
            number = next(calls)
            found = score(groups)
            if number == 2:
                scored.set()
            return found

        def waiting_update(data: Any, seed: int) -> Any:
            assert scored.wait(20)
            return update(data, seed)

        def watched_load(buckets: Any, version: int) -> None:
            syncs.append((version, next(copy(calls))))
            load(buckets, version)

        parts.reward.score, parts.learner.update = slow_score, waiting_update
        parts.sampler.load_weights = watched_load

    run_through(tmp_path, [], 3, Listening(), change=change, make_source=Ahead)
    assert syncs == [(1, 3), (2, 4), (3, 4)], "at each sync the next rollout is complete and the one after not begun"


def test_ahead_a_failed_rollout_stops_the_run_after_the_previous_update(tmp_path: Path) -> None:
    def change(parts: Parts) -> None:
        parts.reward.raises = {2: TimeoutError("too slow")}

    with pytest.raises(TimeoutError, match="too slow"):
        run_through(tmp_path, [], 3, Listening(), change=change, make_source=Ahead)
    assert [row["update"] for row in lines(tmp_path, "metrics.jsonl")] == [0, 1]
    broken = [row for row in lines(tmp_path, "samples.jsonl") if row["update"] == 2]
    assert len(broken) == 4 and all("TimeoutError" in row["score"]["failure"] for row in broken)


def test_ahead_only_problems_that_were_learned_from_count(tmp_path: Path) -> None:
    parts = run_parts(tmp_path, updates=3)
    taken = []
    source = Ahead(parts, state())
    for rollout in source:
        source.rest()
        taken.append((rollout.problems, source._taken))
    assert taken == [(2, 4), (4, 6), (6, 6)]


def test_ahead_the_thread_ends_with_the_run(tmp_path: Path) -> None:
    parts = run_parts(tmp_path, updates=3)
    source = Ahead(parts, state())
    next(iter(source))
    parts.ends.close()
    with pytest.raises(RuntimeError, match="after shutdown"):
        source._begin(9)
