"""Dynamic sampling: groups that teach nothing are replaced, within bounds, and nothing drawn is forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

from rewards.types import Group, Problem, Score
from rl.algorithms.grpo import GRPO
from rl.collect import Rollout, collect, sampling_seed
from rl.metrics import Stopwatch
from rl.progress import Silent
from rl.settings import LoopSettings, RolloutSettings
from rl.types import AnswerGroup, Sample


@dataclass
class Draws:
    """A sampler that answers with texts naming the problem, and remembers how it was asked."""

    seeds: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)

    def sample(self, problems: list[Problem], n: int, *, seed: int, **sampling: float) -> list[AnswerGroup]:
        self.seeds.append(seed)
        self.sizes.append(len(problems))
        return [
            AnswerGroup.drawn(p, [Sample((1,), (2,), (0.0,), f"{p.id}.{j}", "stop", 0) for j in range(n)])
            for p in problems
        ]


class EveryThirdDiffers:
    """A reward whose scores differ inside the groups of problems 2, 5, 8, ..."""

    def score(self, groups: list[Group]) -> list[list[Score]]:
        return [[Score.of(float(int(group.problem.id) % 3 == 2 and j == 0)) for j in range(2)] for group in groups]


class Listening(Silent):
    def __init__(self) -> None:
        self.events: list[str] = []

    def event(self, text: str) -> None:
        self.events.append(text)


def stream() -> Iterator[Problem]:
    number = 0
    while True:
        yield Problem(str(number), "?")
        number += 1


def settings(extra: int, problems: int = 3) -> SimpleNamespace:
    return SimpleNamespace(
        loop=LoopSettings(seed=4),
        rollout=RolloutSettings(problems=problems, responses=2),
        algorithm=replace(GRPO(), dynamic_sampling=extra),
        task=SimpleNamespace(graded=False),
    )


def collected_by(settings: Any, sampler: Draws, display: Silent | None = None) -> Rollout:
    """The first update's rollout."""
    parts = SimpleNamespace(
        watched={},
        settings=settings,
        sampler=sampler,
        reward=EveryThirdDiffers(),
        display=display or Silent(),
        watch=Stopwatch(),
    )
    rollout = Rollout(1)
    collect(parts, stream(), rollout)  # type: ignore[arg-type]
    return rollout


def test_without_dynamic_sampling_every_group_is_learnt_from() -> None:
    sampler = Draws()
    collected = collected_by(settings(0), sampler)
    assert [group.problem.id for group in collected.kept] == ["0", "1", "2"]
    assert len(sampler.seeds) == 1 and not collected.metrics


def test_groups_with_equal_scores_are_replaced_by_new_problems() -> None:
    sampler = Draws()
    collected = collected_by(settings(10), sampler)
    assert [group.problem.id for group in collected.kept] == ["2", "5", "8"]
    assert [group.samples[0].text for group in collected.kept] == ["2.0", "5.0", "8.0"]
    assert sampler.sizes == [3, 2, 2, 1, 1], "problems 0-2, 3-4, 5-6, 7, 8"
    assert len(set(sampler.seeds)) == 5
    assert collected.metrics == {"collect/groups_drawn": 9, "collect/groups_kept": 3, "collect/draws": 5}
    assert len(collected.groups) == 9, "what was drawn is reported whole"


def test_the_number_of_draws_is_bounded_and_the_rollout_may_stay_short() -> None:
    sampler = Draws()
    collected = collected_by(settings(1), sampler)
    assert sampler.sizes == [3, 2]
    assert [group.problem.id for group in collected.kept] == ["2"]


def test_a_rollout_without_a_learning_signal_is_reported() -> None:
    display = Listening()
    collected = collected_by(settings(1, problems=1), Draws(), display)
    assert len(collected.kept) == 1
    assert "none of 2 groups" in display.events[0]


@pytest.mark.parametrize("draw", [0, 1])
def test_the_seed_of_a_draw_depends_on_run_update_and_draw_only(draw: int) -> None:
    assert sampling_seed(1, 5, draw) == sampling_seed(1, 5, draw)
    others = {sampling_seed(seed, update, draw) for seed in (1, 2) for update in (1, 2) for draw in (0, 1)}
    assert len(others) == 8
