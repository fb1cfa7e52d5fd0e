"""What launch.evaluate is asked to do: the keys at the root of configs/evaluate.yaml, with their ranges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rewards.builder import build_root
from rewards.evaluation.best_of_n import Ties
from rewards.evaluation.intervals import Bootstrap
from rewards.files.lines import check_file
from rl.settings import require

Kind = Literal["best_of_n", "process_bench", "reward_bench"]

Protocol = Literal["published", "stripped"]
"""How a process model reads ProcessBench's steps: as the benchmark's own script does, or as RLHFlow's evaluation."""

GROUPS = ("policy", "task", "rollout", "cluster")
"""Groups that are read where the policy draws the responses."""


@dataclass(frozen=True)
class EvaluateSettings:
    """The keys of an evaluation that are not a group's; configs/evaluate.yaml says what each is for."""

    folder: str
    kind: Kind = "best_of_n"
    input: str | None = None
    fields: dict[str, str] | None = None
    rewards: tuple[str, ...] = ()
    problems: int = 200
    seed: int = 1
    batch: int = 256
    n: tuple[int, ...] | None = None
    ties: Ties = "share"
    subsets: int = 200
    judge_fields: int = 1
    threshold: float = 0.5
    protocol: Protocol = "published"
    resamples: int = 1000
    level: float = 0.95

    def __post_init__(self) -> None:
        for key in ("problems", "batch", "subsets", "judge_fields", "resamples"):
            require(getattr(self, key) >= 1, f"{key} must be at least 1, not {getattr(self, key)}")
        require(self.seed >= 0, f"seed must not be negative, not {self.seed}")
        require(0 < self.level < 1, f"level must lie in (0, 1), not {self.level}")
        require(0 < self.threshold <= 1, f"threshold must lie in (0, 1], not {self.threshold}")
        require(self.n is None or (bool(self.n) and min(self.n) >= 1), "n must be sizes of at least 1, as n=[1,4,16]")
        if self.n is not None:  # tables and plots go from the smallest to the largest
            object.__setattr__(self, "n", tuple(sorted(set(self.n))))
        require(
            self.input is not None or self.kind == "best_of_n",
            f"kind={self.kind} needs input=FILE: a policy's samples have no labels of that kind",
        )
        if self.input is not None:
            check_file(self.input, "input")
        require(
            bool(self.rewards) or self.kind != "process_bench",
            "rewards is empty: name what is to score the steps, as rewards=[prm]",
        )

    def bootstrap(self, problems: int) -> Bootstrap:
        """The resamples of this evaluation, for as many problems."""
        return Bootstrap(problems, self.resamples, self.level, self.seed)


def settings_of(config: Mapping[str, Any]) -> EvaluateSettings:
    """The settings in a plain configuration. Raises ConfigurationError for unknown keys, other types, bad ranges."""
    return build_root(EvaluateSettings, config, GROUPS, "configs/evaluate.yaml")
