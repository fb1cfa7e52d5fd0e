"""The settings of launch.evaluate: the keys at the root of configs/evaluate.yaml, with their ranges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rewards.builder import build_root
from rewards.evaluation.options import EvaluationOptions
from rewards.files.lines import check_file
from rl.settings import require

Kind = Literal["best_of_n", "process_bench", "reward_bench"]

GROUPS = ("policy", "task", "rollout", "cluster")
"""The groups that are used if the policy draws the responses."""


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings(EvaluationOptions):
    """The keys of an evaluation that are not in a group. configs/evaluate.yaml explains each."""

    folder: str
    kind: Kind = "best_of_n"
    input: str | None = None
    fields: dict[str, str] | None = None
    rewards: tuple[str, ...] = ()
    problems: int = 200
    batch: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("problems", "batch"):
            require(getattr(self, key) >= 1, f"{key} must be at least 1, not {getattr(self, key)}")
        require(
            self.input is not None or self.kind == "best_of_n",
            f"kind={self.kind} needs input=FILE: a policy's samples have no such labels",
        )
        if self.input is not None:
            check_file(self.input, "input")
        require(
            bool(self.rewards) or self.kind != "process_bench",
            "rewards is empty: name the rewards that score the steps, as in rewards=[prm]",
        )


def settings_of(config: Mapping[str, Any]) -> EvaluateSettings:
    """The settings in a plain configuration. Raises ConfigurationError for unknown keys and for bad types or values."""
    return build_root(EvaluateSettings, config, GROUPS, "configs/evaluate.yaml")
