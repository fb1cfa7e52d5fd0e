"""The `Display` protocol, through which the loop reports progress, and the data it reports.

The loop calls these methods and knows nothing about terminals; `launch` implements them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Evaluation:
    """The policy on held-out problems after `update` updates (0: before training).

    `accuracy` in [0, 1] is the verifier's, None if the task has no reference answers. `reward` is the mean reward of
    the same responses, None if every score failed, or if the reward compares responses and there is one per problem.
    `tokens` is their mean length. `problems` counts the problems, `responses` the responses to each, and `failed` the
    failed scores. `details` are further metrics: `accuracy/held_out_low` and `..._high`, the ends of the accuracy's 95%
    interval, and `accuracy/held_out_pass_at_K` with the same.
    """

    update: int
    accuracy: float | None
    reward: float | None
    tokens: float
    problems: int
    failed: int = 0
    responses: int = 1
    details: Mapping[str, float] = field(default_factory=dict)

    def metrics(self) -> dict[str, float]:
        """The evaluation as named numbers, for metrics.jsonl and TensorBoard."""
        named = {
            "accuracy/held_out": self.accuracy,
            "response/held_out_tokens": self.tokens,
            "reward/held_out": self.reward,
        }
        return {name: value for name, value in named.items() if value is not None} | dict(self.details)


@dataclass(frozen=True)
class Summary:
    """A finished run: first and last evaluation, timings and failures.

    `stages` holds wall seconds by stage, `failures` the number of failed scores by reason over the whole run, and
    `skipped` the number of updates with nothing to learn from. `stopped` says why the run ended early, if it did.
    """

    before: Evaluation
    after: Evaluation
    updates: int
    seconds: float
    stages: Mapping[str, float]
    folder: Path
    failures: Mapping[str, int] = field(default_factory=dict)
    skipped: int = 0
    stopped: str | None = None


class Display(Protocol):
    """Shows a run's progress."""

    def stage(self, name: str) -> None:
        """A stage starts ("sample", "score", "learn", "sync", "evaluate", or what is being started)."""

    def update(self, number: int, metrics: Mapping[str, float]) -> None:
        """Update `number` (from 1) is done."""

    def evaluation(self, evaluation: Evaluation) -> None:
        """An evaluation on held-out problems is done."""

    def event(self, text: str) -> None:
        """A one-line message for a person, such as failed scores or a warning."""

    def finish(self, summary: Summary) -> None:
        """The run is complete."""

    def close(self) -> None:
        """The run is over, complete or not."""


class Silent:
    """A display that shows nothing, for programs and tests."""

    def stage(self, name: str) -> None:
        """Nothing."""

    def update(self, number: int, metrics: Mapping[str, float]) -> None:
        """Nothing."""

    def evaluation(self, evaluation: Evaluation) -> None:
        """Nothing."""

    def event(self, text: str) -> None:
        """Nothing."""

    def finish(self, summary: Summary) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""
