"""The responses of one update: drawn, scored, and drawn again where a group's scores are all equal.

Drawing again is DAPO's dynamic sampling (arXiv:2503.14476, section 3.2): a group whose responses are all right, or all
wrong, has no gradient, so another problem takes its place. Each further draw asks for as many problems as are missing,
and there are at most as many draws as the algorithm allows; what is missing then stays missing. Left out: drawing more
than needed at once and keeping the rest for the next update, whose policy is another one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from rewards.types import Problem, Reward, Score
from rl.credit.groups import informative, values_of
from rl.metrics import Metrics, Stopwatch, failures
from rl.progress import Display
from rl.sampler import SamplerGroup
from rl.scoring import as_groups, usable_scores
from rl.settings import RunSettings
from rl.types import Rollout


@dataclass
class Collected:
    """All that was drawn for an update, and which of it is learnt from.

    `scores[i][j]` belongs to response j to problem i of the `rollout`; `chosen` are indices of groups.
    """

    rollout: Rollout = field(default_factory=lambda: Rollout([], []))
    scores: list[list[Score]] = field(default_factory=list)
    chosen: list[int] = field(default_factory=list)
    metrics: Metrics = field(default_factory=dict)

    def add(self, rollout: Rollout, scores: list[list[Score]]) -> None:
        """Put further groups beside those that are there; they are not chosen yet."""
        self.rollout = Rollout(self.rollout.problems + rollout.problems, self.rollout.samples + rollout.samples)
        self.scores = self.scores + scores

    @property
    def reasons(self) -> Counter[str]:
        """How many scores failed for each reason."""
        return failures(self.scores)

    def to_learn_from(self) -> tuple[Rollout, list[list[Score]]]:
        """The chosen groups."""
        if len(self.chosen) == len(self.scores):
            return self.rollout, self.scores
        problems = [self.rollout.problems[group] for group in self.chosen]
        samples = [self.rollout.samples[group] for group in self.chosen]
        return Rollout(problems, samples), [self.scores[group] for group in self.chosen]


def collect(
    settings: RunSettings,
    sampler: SamplerGroup,
    reward: Reward,
    stream: Iterator[Problem],
    update: int,
    display: Display,
    watch: Stopwatch,
    collected: Collected,
) -> None:
    """Draw and score the responses of one update into `collected`, which keeps what was drawn if this raises.

    Raises whatever the sampler or the reward raises. A rollout whose scoring raised has failed scores only.
    """
    wanted, extra = settings.rollout.problems, settings.algorithm.dynamic_sampling
    draws = 0
    while draws <= extra and len(collected.chosen) < wanted:
        problems = list(islice(stream, wanted - len(collected.chosen)))
        display.stage("sample")
        with watch.stage("sample"):
            rollout = sampler.sample(
                problems,
                settings.rollout.responses,
                temperature=settings.rollout.temperature,
                top_p=settings.rollout.top_p,
                seed=sampling_seed(settings.loop.seed, update, draws),
            )
        display.stage("score")
        with watch.stage("score"):
            try:
                scores = reward.score(as_groups(rollout))
            except BaseException as error:
                reason = Score.failed(f"scoring stopped with {type(error).__name__}")
                collected.add(rollout, [[reason] * len(samples) for samples in rollout.samples])
                raise
            collected.add(rollout, scores)
        collected.chosen = _chosen(collected.scores, settings) if extra else list(range(len(collected.scores)))
        draws += 1
    if extra:
        drawn, kept = len(collected.scores), len(collected.chosen)
        collected.metrics = {"collect/groups_drawn": float(drawn), "collect/groups_kept": float(kept)}
        collected.metrics["collect/draws"] = float(draws)
        if not kept:
            display.event(f"none of {drawn} groups has scores that differ: update {update} has nothing to learn from")
            collected.chosen = list(range(wanted))


def sampling_seed(seed: int, update: int, draw: int) -> int:
    """The engine's seed for a draw of an update: a function of the run's seed and the two numbers alone."""
    return seed * 1_000_003 + update + draw * 97_000_037


def _chosen(scores: list[list[Score]], settings: RunSettings) -> list[int]:
    """The groups that can teach something: all of them where a failed score stops the run, which the learner raises."""
    if settings.loop.failed_scores == "stop" and failures(scores):
        return list(range(len(scores)))
    values, mask = values_of(usable_scores(scores, settings.loop.failed_scores))
    return informative(values, mask).nonzero().flatten().tolist()
