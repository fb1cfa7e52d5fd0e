"""Draw and score the responses of one update, and replace groups with equal scores.

The replacement is DAPO's dynamic sampling (arXiv:2503.14476, section 3.2): if all responses of a group are right, or
all wrong, it has no gradient, so another problem takes its place. Each further draw samples only the missing problems.
After the algorithm's maximum number of draws, the rollout stays short. Left out: oversampling and keeping the surplus
for the next update, because by then the policy has changed.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from rewards.types import Problem, Score
from rl.credit.groups import informative, values_of
from rl.hacking.measures import watched_metrics
from rl.metrics import Metrics
from rl.parts import Parts
from rl.run_settings import RunSettings
from rl.scoring import failed_scores, graded, report_undecided, scored, usable
from rl.types import AnswerGroup


@dataclass
class Rollout:
    """All groups drawn for an update, and those to learn from (`kept`).

    `problems` counts the problems the run has taken from the task's stream so far, including these.
    """

    update: int
    groups: list[AnswerGroup] = field(default_factory=list)
    kept: list[AnswerGroup] = field(default_factory=list)
    metrics: Metrics = field(default_factory=dict)
    problems: int = 0
    sampling_seconds: float = 0.0

    @property
    def reasons(self) -> Counter[str]:
        """How many scores failed for each reason."""
        return failed_scores(self.groups)


def collect(parts: Parts, stream: Iterator[Problem], rollout: Rollout) -> None:
    """Draw and score the responses of one update into `rollout`, which keeps them if this raises.

    Raises whatever the sampler or the reward raises. If scoring raises, the last draw gets failed scores.
    """
    settings = parts.settings
    wanted, extra = settings.rollout.problems, settings.algorithm.dynamic_sampling
    draws = 0
    while draws <= extra and len(rollout.kept) < wanted:
        problems = list(islice(stream, wanted - len(rollout.kept)))
        before = rollout.groups
        started = time.perf_counter()
        with parts.watch.stage("sample"):
            drawn = parts.sampler.sample(
                problems,
                settings.rollout.responses,
                **settings.rollout.sampling,
                seed=sampling_seed(settings.loop.seed, rollout.update, draws),
            )
        rollout.sampling_seconds += time.perf_counter() - started
        with parts.watch.stage("score"):
            try:
                drawn = scored(drawn, parts.reward)
            except BaseException as error:
                reason = Score.failed(f"scoring stopped with {type(error).__name__}")
                rollout.groups = before + [group.with_scores([reason] * len(group.answers)) for group in drawn]
                raise
        rollout.groups = before + drawn
        drawn = graded(drawn, settings.task)
        report_undecided(drawn, settings.task, parts.display)
        rollout.groups = before + drawn
        rollout.kept = _with_differing_scores(rollout.groups, settings) if extra else rollout.groups
        draws += 1
    if extra:
        drawn_groups, kept = len(rollout.groups), len(rollout.kept)
        rollout.metrics = {"collect/groups_drawn": float(drawn_groups), "collect/groups_kept": float(kept)}
        rollout.metrics["collect/draws"] = float(draws)
        if not kept:
            parts.display.event(
                f"update {rollout.update} has nothing to learn from: none of {drawn_groups} groups has differing scores"
            )
            rollout.kept = rollout.groups[:wanted]
    rollout.metrics |= watched(parts, rollout.groups)


def watched(parts: Parts, groups: Sequence[AnswerGroup]) -> Metrics:
    """What the watched rewards make of these groups; they are never optimised. Raises what such a reward raises."""
    found: Metrics = {}
    if parts.watched:
        with parts.watch.stage("watch"):
            for name, reward in parts.watched.items():
                found |= watched_metrics(name, groups, reward.score([group.for_reward() for group in groups]))
    return found


def sampling_seed(seed: int, update: int, draw: int) -> int:
    """The engine's seed for one draw of an update. Depends only on the run's seed, the update and the draw."""
    return seed * 1_000_003 + update + draw * 97_000_037


def _with_differing_scores(groups: list[AnswerGroup], settings: RunSettings) -> list[AnswerGroup]:
    """The groups with differing scores; all groups if a failed score is to stop the run (`learn` then raises)."""
    if settings.loop.failed_scores == "stop" and failed_scores(groups):
        return groups
    values, mask = values_of([group.scores for group in usable(groups, settings.loop.failed_scores)])
    return [group for group, differs in zip(groups, informative(values, mask).tolist(), strict=True) if differs]
