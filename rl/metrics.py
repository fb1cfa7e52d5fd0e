"""Metrics of a rollout, and timings. Pure functions and a stopwatch.

Names are `group/name`, as TensorBoard groups them. An undefined number (the mean of no scores) is left out, not zero
or NaN.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import fmean, pstdev

import numpy as np

from rewards.evaluation.ranking import auc
from rl.hacking.measures import exploitation_metrics
from rl.progress import Display
from rl.types import AnswerGroup

Metrics = dict[str, float]


def reward_metrics(groups: Sequence[AnswerGroup]) -> Metrics:
    """Metrics of a rollout's scores.

    `reward/mean` and `reward/std` are over the successful scores. `reward/group_std` is the standard deviation within a
    group, averaged over groups. `reward/flat_groups` is the share of groups whose values are all equal (they teach a
    group-relative algorithm nothing). `reward/failed` counts failed scores. `reward/part/NAME` is a named part's mean.
    """
    scores = [group.scores for group in groups]
    by_group = [[score.value for score in group if score.ok] for group in scores]
    values = [value for group in by_group for value in group]
    metrics: Metrics = {"reward/failed": float(sum(not score.ok for group in scores for score in group))}
    if values:
        metrics["reward/mean"] = fmean(values)
        metrics["reward/std"] = pstdev(values)
    spreads = [pstdev(group) for group in by_group if len(group) > 1]
    if spreads:
        metrics["reward/group_std"] = fmean(spreads)
        metrics["reward/flat_groups"] = fmean(float(spread < 1e-8) for spread in spreads)
    parts: dict[str, list[float]] = {}
    for group in scores:
        for score in group:
            for name, value in score.parts.items() if score.ok else ():
                parts.setdefault(name, []).append(value)
    return metrics | {f"reward/part/{name}": fmean(of_part) for name, of_part in parts.items()}


def correctness_metrics(groups: Sequence[AnswerGroup]) -> Metrics:
    """Compare the reward with the task's grades; empty if the task gives none.

    `accuracy/rollout` is the share of correct answers. `reward/right` and `reward/wrong` are the mean rewards of
    correct and incorrect answers. `reward/auc` in [0, 1] is the probability that a correct answer of the rollout scores
    above an incorrect one (ties count half); it falls towards 0.5 as the policy exploits the reward.
    """
    graded = [answer for group in groups for answer in group.answers if answer.correct is not None]
    metrics: Metrics = {}
    if graded:
        metrics["accuracy/rollout"] = fmean(float(bool(answer.correct)) for answer in graded)
    scored = [
        (answer.score.value, bool(answer.correct)) for answer in graded if answer.score is not None and answer.score.ok
    ]
    of_correct = [value for value, correct in scored if correct]
    of_incorrect = [value for value, correct in scored if not correct]
    if of_correct:
        metrics["reward/right"] = fmean(of_correct)
    if of_incorrect:
        metrics["reward/wrong"] = fmean(of_incorrect)
    chance = auc(np.array([value for value, _ in scored]), np.array([correct for _, correct in scored], dtype=bool))
    if chance is not None:
        metrics["reward/auc"] = chance
    return metrics


def response_metrics(groups: Sequence[AnswerGroup]) -> Metrics:
    """Metrics of a rollout's responses; empty if there are none.

    `response/groups`, `response/count`, `response/tokens` (mean length in tokens), and the shares that ended on their
    own (`response/stop`), hit the token limit (`response/length`), were aborted by the engine (`response/abort`), or
    are empty (`response/empty`).
    """
    samples = [sample for group in groups for sample in group.samples]
    if not samples:
        return {}
    reasons = Counter(sample.finish_reason for sample in samples)
    return {
        "response/groups": float(len(groups)),
        "response/count": float(len(samples)),
        "response/tokens": fmean(len(sample.response_ids) for sample in samples),
        **{f"response/{reason}": reasons[reason] / len(samples) for reason in ("stop", "length", "abort")},
        "response/empty": fmean(float(not sample.text.strip()) for sample in samples),
    }


def rollout_metrics(groups: Sequence[AnswerGroup]) -> Metrics:
    """All metrics of one rollout: rewards, their agreement with the task's grades, responses, signs of exploitation."""
    own = reward_metrics(groups) | correctness_metrics(groups) | response_metrics(groups)
    return own | exploitation_metrics(groups)


class Stopwatch:
    """Wall seconds by stage, for one update and for the whole run. Reports each stage to `display`.

    Stages must not overlap: a nested stage would be counted twice, so it raises RuntimeError.
    """

    def __init__(self, display: Display | None = None) -> None:
        self._display = display
        self._lap: dict[str, float] = {}
        self._total: dict[str, float] = {}
        self._running: str | None = None
        self._start = time.perf_counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time inside the `with` block towards the stage `name`."""
        if self._running is not None:
            raise RuntimeError(f"stage {name!r} starts inside stage {self._running!r}")
        if self._display is not None:
            self._display.stage(name)
        self._running, start = name, time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - start
            self._running = None
            self._lap[name] = self._lap.get(name, 0.0) + seconds
            self._total[name] = self._total.get(name, 0.0) + seconds

    def lap(self) -> Metrics:
        """Seconds by stage since the last call, as `time/STAGE`; starts a new lap."""
        lap, self._lap = self._lap, {}
        return {f"time/{name}": seconds for name, seconds in lap.items()}

    def add(self, stages: Mapping[str, float], seconds: float) -> None:
        """Add time spent before this stopwatch was created: wall seconds by stage, and in total."""
        for name, taken in stages.items():
            self._total[name] = self._total.get(name, 0.0) + taken
        self._start -= seconds

    @property
    def totals(self) -> dict[str, float]:
        """Seconds by stage since the start."""
        return dict(self._total)

    @property
    def seconds(self) -> float:
        """Wall seconds since the stopwatch was created, plus any added."""
        return time.perf_counter() - self._start


def throughput(groups: Sequence[AnswerGroup], seconds: float) -> Metrics:
    """`rate/tokens_per_second`: response tokens drawn per second of sampling. Nothing where `seconds` is 0."""
    if not seconds:
        return {}
    tokens = sum(len(sample.response_ids) for group in groups for sample in group.samples)
    return {"rate/tokens_per_second": tokens / seconds}
