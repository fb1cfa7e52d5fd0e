"""Supplies the loop with one rollout of scored groups per update, in order.

`Source` draws a rollout when the loop asks for it, with the weights of the last sync; `Ahead` draws the next one while
the learner trains. To get rollouts another way, write another subclass. For multi-turn problems, override `fill` and
give the samples a `loss_mask`. The loop stays the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from itertools import islice

from rewards.types import Problem
from rl.collect import Rollout, collect
from rl.metrics import Stopwatch
from rl.parts import Parts
from rl.run.checkpoint import LoopState
from rl.types import AnswerGroup


class Source:
    """Rollouts in the order of the updates, starting at the first problem that `state` has not used.

    `max_age`: how many syncs older than the learner's weights a rollout's weights may be.
    """

    max_age = 0

    def __init__(self, parts: Parts, state: LoopState) -> None:
        loop = parts.settings.loop
        self.parts = parts
        self.updates = range(state.update + 1, loop.updates + 1)
        self._taken = state.problems
        self._problems = self._counted(islice(parts.settings.task.train_problems(loop.seed), state.problems, None))

    def __iter__(self) -> Iterator[Rollout]:
        """Yield a rollout for each remaining update. Its samples are written to samples.jsonl first, also on an error.

        Raises what the sampler, the reward or the task raises.
        """
        for update in self.updates:
            rollout = Rollout(update)
            try:
                self.fill(rollout, self.parts)
            finally:
                self.parts.run.log_samples(update, rollout.groups)
            yield rollout

    def fill(self, rollout: Rollout, parts: Parts) -> None:
        """Draw, score and grade the groups of this rollout."""
        collect(parts, self._problems, rollout)
        rollout.problems = self._taken

    def rest(self) -> None:
        """Wait until nothing is being drawn. The weights may then change until the next rollout is requested."""

    def _counted(self, problems: Iterator[Problem]) -> Iterator[Problem]:
        for problem in problems:
            self._taken += 1
            yield problem


class Ahead(Source):
    """Draws and scores the next rollout while the learner trains on this one, as in slime's train_async.py.

    Every rollout except the first therefore comes from weights one sync older than the learner's, and the algorithm
    must correct for that. `rest` waits until the rollout is complete, so no rollout mixes two policies and runs are
    reproducible. A resumed run draws its first rollout with the checkpoint's weights, so it is not bit-for-bit equal
    to an uninterrupted run.

    Metrics: `ahead/sample` and `ahead/score` are the seconds spent while the learner trained; `time/wait` is the time
    the loop still had to wait.
    """

    max_age = 1

    def __init__(self, parts: Parts, state: LoopState) -> None:
        super().__init__(parts, state)
        self._worker = ThreadPoolExecutor(1, "rollout")
        self._next: tuple[Rollout, Future[None]] | None = None
        parts.ends.callback(self._worker.shutdown, cancel_futures=True)

    def __iter__(self) -> Iterator[Rollout]:
        """See `Source`. A rollout in progress when the run stops is not written: nothing was learned from it."""
        for update in self.updates:
            rollout, filled = self._next or self._begin(update)
            try:
                with self.parts.watch.stage("wait"):
                    filled.result()
            finally:
                self.parts.run.log_samples(update, rollout.groups)
            self._next = self._begin(update + 1) if update + 1 in self.updates else None
            yield rollout

    def rest(self) -> None:
        """Wait for the rollout in progress. Its errors are raised later, when the loop requests it."""
        if self._next is not None:
            with self.parts.watch.stage("wait"):
                wait([self._next[1]])

    def _begin(self, update: int) -> tuple[Rollout, Future[None]]:
        rollout = Rollout(update)
        return rollout, self._worker.submit(self._fill_in_background, rollout)

    def _fill_in_background(self, rollout: Rollout) -> None:
        """Fill the rollout under a separate stopwatch, since these stages overlap with the loop's."""
        parts = replace(self.parts, watch=Stopwatch())
        self.fill(rollout, parts)
        rollout.metrics |= {f"ahead/{name}": seconds for name, seconds in parts.watch.totals.items()}


def source_for(parts: Parts, state: LoopState) -> Source:
    """The source that `rollout.ahead` selects."""
    return (Ahead if parts.settings.rollout.ahead else Source)(parts, state)


def check_age(groups: Sequence[AnswerGroup], update: int, max_age: int) -> bool:
    """Whether every sample of this update was drawn with the learner's current weights, those of sync `update` - 1.

    Raises RuntimeError if a sample's weights are newer, or more than `max_age` syncs older.
    """
    present = update - 1
    versions = {sample.weight_version for group in groups for sample in group.samples}
    wrong = sorted(version for version in versions if not present - max_age <= version <= present)
    if wrong:
        allowed = f"{present}" if max_age == 0 else f"{max(0, present - max_age)} to {present}"
        raise RuntimeError(f"update {update}: samples were drawn with the weights of sync {wrong}, expected {allowed}")
    return versions <= {present}
