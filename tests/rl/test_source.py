"""Where rollouts come from: what they take of the task's problems, how old they may be, and another kind of source."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from rewards.types import Problem, Score
from rl.algorithms.grpo import GRPO
from rl.checkpoint import LoopState
from rl.collect import Rollout
from rl.progress import Evaluation
from rl.source import Source, check_age
from rl.types import AnswerGroup, Sample
from tests.rl.test_loop import Listening, run_parts, run_through


def samples(*versions: int) -> list[AnswerGroup]:
    drawn = [Sample((1,), (2,), (0.0,), "a", "stop", version) for version in versions]
    return [AnswerGroup.drawn(Problem("p", "?"), drawn)]


def state(update: int = 0, problems: int = 0) -> LoopState:
    none = Evaluation(0, None, None, 0.0, 0)
    return LoopState(none, none, update, problems)


@pytest.mark.parametrize("dynamic_sampling", [0, 2])
def test_each_rollout_says_how_many_problems_the_run_has_taken_by_then(tmp_path: Path, dynamic_sampling: int) -> None:
    parts = run_parts(tmp_path, updates=3, algorithm=GRPO(dynamic_sampling=dynamic_sampling))
    rollouts = list(Source(parts, state()))
    assert [rollout.update for rollout in rollouts] == [1, 2, 3]
    assert [rollout.problems for rollout in rollouts] == [2, 4, 6]


def test_a_source_continues_with_the_problems_that_come_next(tmp_path: Path) -> None:
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

    def fill(self, rollout: Rollout) -> None:
        for _ in range(2):
            problem = next(self._problems)
            drawn = Sample(
                (1,),
                (7, 8, 8, 9),
                (-1.0, 0.0, 0.0, -1.0),
                "abcd",
                "stop",
                self.parts.sampler.version,
                loss_mask=(True, False, False, True),
            )
            group = AnswerGroup.drawn(problem, [drawn, drawn]).with_scores([Score.of(1.0), Score.of(0.0)])
            rollout.groups.append(group)
        rollout.kept, rollout.problems = rollout.groups, self._taken


def test_another_source_takes_the_place_of_the_usual_one_and_the_loop_stays_as_it_is(tmp_path: Path) -> None:
    summary, learner = run_through(tmp_path, [], 2, Listening(), make_source=TwoTurns)
    assert summary.skipped == 0 and learner.calls.count("update") == 2
    assert learner.data.response_mask.tolist() == [[False, True, False, False, True]] * 4
    advantages = learner.data.advantages
    assert (advantages[:, 2:4] == 0).all() and (advantages[:, [1, 4]] != 0).all()
    rows = [json.loads(line) for line in (tmp_path / "run" / "samples.jsonl").read_text().splitlines()]
    assert [row["update"] for row in rows if row["stage"] == "train"] == [1] * 4 + [2] * 4
