"""Tasks: sources of problems that can grade answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rewards.types import Problem

Lengths = Callable[[Sequence[Problem]], Sequence[int | str]]
"""Returns the number of tokens of each prompt, or the reason why a prompt cannot be rendered."""


class Task(ABC):
    """A source of problems in two disjoint splits, with a verifier for responses.

    Evaluation reports the verifier's grades (`grade`) as accuracy; a run may train on any reward.
    """

    graded: bool = True
    """Whether its problems have reference answers. Without them no accuracy is reported."""
    grades_steps: bool = False
    """Whether it implements `grade_steps`."""

    @abstractmethod
    def train_problems(self, seed: int) -> Iterator[Problem]:
        """An endless stream of training problems, in an order that depends only on the seed."""

    @abstractmethod
    def held_out_problems(self, count: int) -> list[Problem]:
        """The first `count` held-out problems, always the same. Raises ValueError when there are fewer."""

    @abstractmethod
    def grade(self, problem: Problem, text: str) -> bool:
        """Whether the response's final answer is right. May raise `rewards.grading.comparison.Undecided`."""

    def grade_steps(self, problem: Problem, text: str) -> list[bool]:
        """Whether each line of the response is right. Only if the task `grades_steps`."""
        raise NotImplementedError(f"{type(self).__name__} does not grade steps")


class FileTask(Task):
    """A task whose problems come from files, so that all can be checked before a run starts."""

    @abstractmethod
    def fit(self, lengths: Lengths, room: int) -> None:
        """Remove problems whose prompts cannot be rendered, and those longer than `room` tokens if the task allows it.

        Raises ValueError if it does not allow it, or nothing would be left.
        """

    @abstractmethod
    def notes(self) -> list[str]:
        """One-line notes on the files, such as rows left out and why."""

    @abstractmethod
    def digests(self) -> dict[str, str]:
        """A short digest of each split's problems: equal if and only if the problems are."""

    @abstractmethod
    def describe(self, folder: Path) -> None:
        """Write data.json (files, digests, counts) and rejects.jsonl (rows left out) into a run's folder."""

    @abstractmethod
    def changed_files(self, described: dict[str, Any]) -> list[str]:
        """The files that have changed since `described`, a data.json, was written."""
