"""Stand-ins for rewards and tasks that a plan (`dry_run=true`) does not find on this machine. They only report what
their class declares.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rewards.builder import find
from rewards.model_folder import place_of
from rewards.types import Group, Problem, Reward, Score
from rl.planning.model_sizes import nodes_with_models
from rl.tasks import Task


class AbsentReward(Reward):
    """Replaces a reward of class `of` if its model is not on this machine."""

    def __init__(self, of: str) -> None:
        kind: Any = find({"_target_": of}, "reward")
        self._kind = kind
        self.has_steps, self.has_matches = kind.has_steps, kind.has_matches
        self.part_names, self.compares_responses = kind.part_names, kind.compares_responses

    def score(self, groups: Sequence[Group]) -> list[list[Score]]:
        """Raises RuntimeError: there is no model to score with."""
        raise RuntimeError(f"{self.name}: its model is not on this machine")

    @property
    def name(self) -> str:
        """The name of the class it replaces."""
        return str(self._kind.__name__)


class AbsentTask(Task):
    """Replaces a task if its files are not on this machine."""

    def train_problems(self, seed: int) -> Iterator[Problem]:
        """Raises RuntimeError."""
        raise RuntimeError("the task's files are not on this machine")

    def held_out_problems(self, count: int) -> list[Problem]:
        """Raises RuntimeError."""
        raise RuntimeError("the task's files are not on this machine")

    def grade(self, problem: Problem, text: str) -> bool:
        """Raises RuntimeError."""
        raise RuntimeError("the task's files are not on this machine")


def with_stand_ins(node: Mapping[str, Any], key: str) -> tuple[dict[str, Any], list[str]]:
    """A reward's node with a stand-in for every reward whose model is absent, and the paths of these models.

    If a judge is absent, so is its reward. Mixtures and shaped rewards are built normally around the stand-ins, so they
    still declare what their scores will contain.
    """
    absent = {place for place, inner in nodes_with_models(node, key) if place_of(inner["model"]) == "hub"}
    replaced, _ = _replaced(node, key, absent)
    return replaced, [f"{place}.model" for place in sorted(absent)]


def _replaced(node: Any, key: str, absent: set[str]) -> tuple[Any, bool]:
    """The node with its stand-ins, and whether it still lacks a model that no stand-in replaced."""
    if not isinstance(node, Mapping):
        return node, False
    inner = {name: _replaced(value, f"{key}.{name}", absent) for name, value in node.items()}
    lacks = key in absent or any(lacking for _, lacking in inner.values())
    if lacks and "_target_" in node:
        target = find(node, key)
        if isinstance(target, type) and issubclass(target, Reward):
            return {"_target_": f"{__name__}.{AbsentReward.__name__}", "of": node["_target_"]}, False
    return {name: value for name, (value, _) in inner.items()}, lacks
