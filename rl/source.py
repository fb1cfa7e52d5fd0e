"""Where the loop gets what it learns from: one rollout of scored groups per update, in order.

`Source` draws a rollout when the loop asks for it, with the weights of the last sync. Another way to get rollouts is a
subclass: one that draws earlier overrides `__iter__`, `rest` and `max_age`; one whose problems take several turns
overrides `fill` and gives its samples a `loss_mask`. The loop stays the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from rewards.types import Problem
from rl.checkpoint import LoopState
from rl.collect import Rollout, collect
from rl.parts import Parts
from rl.types import AnswerGroup


class Source:
    """Rollouts in the order of the updates, from where `state` left the task's problems.

    `max_age` says by how many syncs the weights that drew a rollout may be older than the learner's.
    """

    max_age = 0

    def __init__(self, parts: Parts, state: LoopState) -> None:
        loop = parts.settings.loop
        self.parts = parts
        self.updates = range(state.update + 1, loop.updates + 1)
        self._taken = state.problems
        self._problems = self._counted(islice(parts.settings.task.train_problems(loop.seed), state.problems, None))

    def __iter__(self) -> Iterator[Rollout]:
        """A rollout for each update left. What was drawn is in samples.jsonl before it is given, or before this raises.

        Raises what the sampler, the reward or the task raises.
        """
        for update in self.updates:
            rollout = Rollout(update)
            try:
                self.fill(rollout)
            finally:
                self.parts.run.log_samples(update, rollout.groups)
            yield rollout

    def fill(self, rollout: Rollout) -> None:
        """Draw, score and grade the groups of this rollout."""
        collect(self.parts, self._problems, rollout)
        rollout.problems = self._taken

    def rest(self) -> None:
        """Return once nothing is being drawn: the weights may be changed until the next rollout is asked for."""

    def _counted(self, problems: Iterator[Problem]) -> Iterator[Problem]:
        for problem in problems:
            self._taken += 1
            yield problem


def check_age(groups: Sequence[AnswerGroup], update: int, max_age: int) -> bool:
    """Whether every sample of this update was drawn with the learner's present weights, those of sync `update` - 1.

    Raises RuntimeError for samples whose weights are more than `max_age` syncs older, or newer.
    """
    present = update - 1
    versions = {sample.weight_version for group in groups for sample in group.samples}
    wrong = sorted(version for version in versions if not present - max_age <= version <= present)
    if wrong:
        allowed = f"{present}" if max_age == 0 else f"{max(0, present - max_age)} to {present}"
        raise RuntimeError(f"update {update}: samples were drawn with the weights of sync {wrong}, expected {allowed}")
    return versions <= {present}
