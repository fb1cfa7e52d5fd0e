"""What launch.evaluate is asked to do: the keys at the root of configs/evaluate.yaml, with their ranges."""

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
"""Groups that are read where the policy draws the responses."""


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings(EvaluationOptions):
    """The keys of an evaluation that are not a group's; configs/evaluate.yaml says what each is for."""

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
            f"kind={self.kind} needs input=FILE: a policy's samples have no labels of that kind",
        )
        if self.input is not None:
            check_file(self.input, "input")
        require(
            bool(self.rewards) or self.kind != "process_bench",
            "rewards is empty: name what is to score the steps, as rewards=[prm]",
        )


def settings_of(config: Mapping[str, Any]) -> EvaluateSettings:
    """The settings in a plain configuration. Raises ConfigurationError for unknown keys, other types, bad ranges."""
    return build_root(EvaluateSettings, config, GROUPS, "configs/evaluate.yaml")
