"""What launch.annotate is asked to do: the keys at the root of configs/annotate.yaml, with their ranges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rewards.builder import build_root
from rewards.files.lines import check_file
from rewards.steps import Splitter, splitter
from rl.settings import require

TASK_PROBLEMS = 200
"""How many of a task's problems are annotated where nothing is said: it has no end."""

GROUPS = ("policy", "task", "rollout", "cluster")


@dataclass(frozen=True)
class AnnotateSettings:
    """The keys of an annotation that are not a group's; configs/annotate.yaml says what each is for."""

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
            "judge_template belongs to judge=verified; another judge has its own, judge='pairjudge judge.template=...'",
        )
        self.split()

    def split(self, *, keep_empty: bool = False) -> Splitter:
        """The splitter. Raises ValueError for one that does not exist."""
        return splitter(self.splitter, pattern=self.pattern, keep_empty=keep_empty)


def settings_of(config: Mapping[str, Any]) -> AnnotateSettings:
    """The settings in a plain configuration. Raises ConfigurationError for unknown keys, other types, bad ranges."""
    return build_root(AnnotateSettings, config, GROUPS, "configs/annotate.yaml")
