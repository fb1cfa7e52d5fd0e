"""The settings of launch.annotate: the keys at the root of configs/annotate.yaml, with their ranges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from launch.evaluate.scores import entries
from rewards.builder import ConfigurationError, build_root
from rewards.files.lines import check_file
from rewards.pairjudge import PairJudgeReward
from rewards.steps import splitter
from rewards.verdicts import load_template
from rl.settings import require

GROUPS = ("policy", "task", "rollout", "cluster")


@dataclass(frozen=True)
class AnnotateSettings:
    """The keys of an annotation that are not in a group. configs/annotate.yaml explains each."""

    folder: str
    input: str | None = None
    fields: dict[str, str] | None = None
    problems: int | None = None
    seed: int = 1
    continuations: int = 8
    labels: Literal["hard", "soft"] = "hard"
    splitter: str = "line"
    pattern: str | None = None
    remove: str = ""
    keep_duplicates: bool = False
    judge: str | None = None
    judge_template: str | None = None

    def __post_init__(self) -> None:
        require(self.problems is None or self.problems >= 1, f"problems must be at least 1, not {self.problems}")
        require(self.continuations >= 1, f"continuations must be at least 1, not {self.continuations}")
        require(self.seed >= 0, f"seed must not be negative, not {self.seed}")
        if self.input is not None:
            check_file(self.input, "input")
        require(
            self.judge_template is None or self.judge == "verified",
            "judge_template is only for judge=verified; set another judge's template as "
            "judge='pairjudge judge.template=...'",
        )
        splitter(self.splitter, pattern=self.pattern)

    @property
    def labelling(self) -> dict[str, Any]:
        """The options of `rl.annotation.labelling.Labeller`."""
        return {key: getattr(self, key) for key in ("seed", "continuations", "splitter", "pattern", "keep_duplicates")}


def settings_of(config: Mapping[str, Any]) -> AnnotateSettings:
    """The settings in a plain configuration. Raises ConfigurationError for unknown keys and for bad types or values."""
    return build_root(AnnotateSettings, config, GROUPS, "configs/annotate.yaml")


def make_reward(settings: AnnotateSettings, flags: Sequence[str]) -> PairJudgeReward | None:
    """The pairwise judge that `judge` names. None if there is none, or for `verified`, which needs no model.

    Raises ConfigurationError if the reward is not a pairwise judge or cannot work.
    """
    if settings.judge in (None, "verified"):
        if settings.judge_template is not None:
            load_template(settings.judge_template)
        return None
    [entry] = entries([settings.judge], flags)
    reward = entry.make()
    if not isinstance(reward, PairJudgeReward):
        raise ConfigurationError(
            f"judge={settings.judge} does not compare responses: choose a pairwise judge, like pairjudge_tiny_knockout"
        )
    return reward
