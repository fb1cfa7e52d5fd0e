"""The options of an evaluation that its figures depend on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rewards.evaluation.best_of_n import Ties
from rewards.evaluation.intervals import Bootstrap

Protocol = Literal["published", "stripped"]
"""How a process model reads ProcessBench's steps: like the benchmark's own script, or like RLHFlow's evaluation."""

PROTOCOLS: Mapping[Protocol, Mapping[str, Any]] = {
    "published": {"join": "\n\n", "strip": False, "remove": ""},
    "stripped": {"join": " ", "strip": True},
}
"""The options of a process model under each of ProcessBench's protocols.

The benchmark's script counts a step as correct if `+` is the most likely of all tokens; here it is correct if `+` is at
least as likely as `-`. The two differ only if a third token is more likely than both.
"""


DEFAULT_THRESHOLD = 0.5
"""Probability below which a step counts as wrong, unless the evaluation or the reward says otherwise."""


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """How rewards are measured; configs/evaluate.yaml explains each option.

    Raises ValueError for an option out of range.
    """

    seed: int = 1
    n: tuple[int, ...] | None = None
    ties: Ties = "share"
    subsets: int = 200
    judge_fields: int = 1
    attack_problems: int = 8
    threshold: float | None = None
    protocol: Protocol = "published"
    resamples: int = 1000
    level: float = 0.95

    def __post_init__(self) -> None:
        for key in ("subsets", "judge_fields", "attack_problems", "resamples"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key} must be at least 1, not {getattr(self, key)}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, not {self.seed}")
        if not 0 < self.level < 1:
            raise ValueError(f"level must be in (0, 1), not {self.level}")
        if self.threshold is not None and not -1 <= self.threshold <= 1:
            raise ValueError(f"threshold must be in [-1, 1], not {self.threshold}")
        if self.n is not None:
            if not self.n or min(self.n) < 1:
                raise ValueError("n must be sizes of at least 1, such as n=[1,4,16]")
            object.__setattr__(self, "n", tuple(sorted(set(self.n))))  # tables and plots start with the smallest

    def threshold_of(self, own: float | None) -> float:
        """The score below which a step counts as wrong, for a reward whose own threshold is `own`."""
        return next((one for one in (self.threshold, own) if one is not None), DEFAULT_THRESHOLD)

    def bootstrap(self, problems: int) -> Bootstrap:
        """The bootstrap of this evaluation, for this many problems."""
        return Bootstrap(problems, self.resamples, self.level, self.seed)
