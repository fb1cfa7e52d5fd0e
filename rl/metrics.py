"""What a rollout says of itself in numbers, and where the time went. Pure functions and a stopwatch.

Names are `group/name`, as TensorBoard groups them. A number that does not exist (the mean of no scores) is left out
rather than given as zero or NaN.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import fmean, pstdev

import numpy as np

from rewards.evaluation.ranking import auc
from rewards.types import Score
from rl.types import Rollout

Metrics = dict[str, float]


def reward_metrics(scores: Sequence[Sequence[Score]]) -> Metrics:
    """Metrics of the scores of a rollout, `scores[i][j]` for response j to problem i.

    `reward/mean` and `reward/std` over the scores that are ok, `reward/group_std` the mean over groups of the standard
    deviation inside one, `reward/flat_groups` the share of groups in which all values are equal (such a group teaches a
    group-relative algorithm nothing), `reward/failed` the number of failed scores, `reward/part/NAME` the mean of a
    named part.
    """
    groups = [[score.value for score in group if score.ok] for group in scores]
    values = [value for group in groups for value in group]
    metrics: Metrics = {"reward/failed": float(sum(not score.ok for group in scores for score in group))}
    if values:
        metrics["reward/mean"] = fmean(values)
        metrics["reward/std"] = pstdev(values)
    spreads = [pstdev(group) for group in groups if len(group) > 1]
    if spreads:
        metrics["reward/group_std"] = fmean(spreads)
        metrics["reward/flat_groups"] = fmean(float(spread < 1e-8) for spread in spreads)
    parts: dict[str, list[float]] = {}
    for group in scores:
        for score in group:
            for name, value in score.parts.items() if score.ok else ():
                parts.setdefault(name, []).append(value)
    return metrics | {f"reward/part/{name}": fmean(of_part) for name, of_part in parts.items()}


def failures(scores: Sequence[Sequence[Score]]) -> Counter[str]:
    """How many scores failed for each reason."""
    return Counter(score.failure for group in scores for score in group if score.failure is not None)


def verdict_metrics(scores: Sequence[Sequence[Score]], verdicts: Sequence[Sequence[bool]]) -> Metrics:
    """The reward against the truth: `verdicts[i][j]` says whether response j to problem i is right.

    `accuracy/rollout` is the share of right responses. `reward/right` and `reward/wrong` are the mean rewards of right
    and of wrong responses, and `reward/auc` in [0, 1] is the chance that a right response of the rollout is scored
    above a wrong one (ties count half): it falls towards 0.5 while a reward is being hacked.
    """
    pairs = [
        (score, right)
        for group, truth in zip(scores, verdicts, strict=True)
        for score, right in zip(group, truth, strict=True)
    ]
    metrics: Metrics = {}
    if pairs:
        metrics["accuracy/rollout"] = fmean(float(right) for _, right in pairs)
    right_values = [score.value for score, right in pairs if score.ok and right]
    wrong_values = [score.value for score, right in pairs if score.ok and not right]
    if right_values:
        metrics["reward/right"] = fmean(right_values)
    if wrong_values:
        metrics["reward/wrong"] = fmean(wrong_values)
    scored = [(score.value, right) for score, right in pairs if score.ok]
    chance = auc(np.array([value for value, _ in scored]), np.array([right for _, right in scored], dtype=bool))
    if chance is not None:
        metrics["reward/auc"] = chance
    return metrics


def response_metrics(rollout: Rollout) -> Metrics:
    """`response/count`, `response/tokens` (mean length in tokens), and the shares that ended by themselves
    (`response/stop`), were cut at the limit (`response/length`), were given up by the engine (`response/abort`), or are
    empty (`response/empty`)."""
    samples = [sample for group in rollout.samples for sample in group]
    if not samples:
        return {}
    reasons = Counter(sample.finish_reason for sample in samples)
    return {
        "response/count": float(len(samples)),
        "response/tokens": fmean(len(sample.response_ids) for sample in samples),
        **{f"response/{reason}": reasons[reason] / len(samples) for reason in ("stop", "length", "abort")},
        "response/empty": fmean(float(not sample.text.strip()) for sample in samples),
    }


def rollout_metrics(
    rollout: Rollout, scores: Sequence[Sequence[Score]], verdicts: Sequence[Sequence[bool]] | None
) -> Metrics:
    """All metrics of one rollout: reward, truth and responses together."""
    against_truth = {} if verdicts is None else verdict_metrics(scores, verdicts)
    return reward_metrics(scores) | against_truth | response_metrics(rollout)


class Stopwatch:
    """Where the time goes: wall seconds by stage, for one update and for the whole run.

    Stages must not overlap: a stage inside a stage would be counted twice, so it raises RuntimeError.
    """

    def __init__(self) -> None:
        self._lap: dict[str, float] = {}
        self._total: dict[str, float] = {}
        self._running: str | None = None
        self._start = time.perf_counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time inside the `with` block to the stage `name`."""
        if self._running is not None:
            raise RuntimeError(f"stage {name!r} starts inside stage {self._running!r}")
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
        """Count what was done before this stopwatch was made: wall seconds by stage, and in all."""
        for name, taken in stages.items():
            self._total[name] = self._total.get(name, 0.0) + taken
        self._start -= seconds

    @property
    def totals(self) -> dict[str, float]:
        """Seconds by stage since the start."""
        return dict(self._total)

    @property
    def seconds(self) -> float:
        """Wall seconds since the stopwatch was made, and those that were added."""
        return time.perf_counter() - self._start


def throughput(rollout: Rollout, seconds: float) -> Metrics:
    """`rate/tokens_per_second`: response tokens drawn per second of sampling. `seconds` must be positive."""
    tokens = sum(len(sample.response_ids) for group in rollout.samples for sample in group)
    return {"rate/tokens_per_second": tokens / seconds}
