"""Where problems come from, and which answers are right."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rewards.types import Problem

Lengths = Callable[[Sequence[Problem]], Sequence[int | str]]
"""The tokens of each prompt; or, in words, why a prompt cannot be rendered."""


class Task(ABC):
    """A source of problems with two splits that do not overlap, and the truth about a response.

    The truth (`grade`) is what evaluation reports as accuracy; a run may train on any reward.
    """

    graded: bool = True
    """Whether its problems have answers. Without them there is no accuracy to report."""
    grades_steps: bool = False
    """Whether it has `grade_steps`."""

    @abstractmethod
    def train_problems(self, seed: int) -> Iterator[Problem]:
        """Training problems without end, in an order that the seed alone decides."""

    @abstractmethod
    def held_out_problems(self, count: int) -> list[Problem]:
        """The first `count` held-out problems, always the same. Raises ValueError when there are fewer."""

    @abstractmethod
    def grade(self, problem: Problem, text: str) -> bool:
        """Whether the response's final answer is right. May raise `rewards.grading.comparison.Undecided`."""

    def grade_steps(self, problem: Problem, text: str) -> list[bool]:
        """Whether each line of the response is right. Only a task that `grades_steps` has it."""
        raise NotImplementedError(f"{type(self).__name__} does not grade steps")


class FileTask(Task):
    """A task whose problems come from files, so that all of them can be looked at before a run starts."""

    @abstractmethod
    def fit(self, lengths: Lengths, room: int) -> None:
        """Take out problems whose prompt cannot be rendered, and those of more than `room` tokens where it may.

        Raises ValueError where it may not, or nothing would be left.
        """

    @abstractmethod
    def notes(self) -> list[str]:
        """What a person should know of the files, one line each: rows that were left out, and why."""

    @abstractmethod
    def digests(self) -> dict[str, str]:
        """What the problems of each split are, in short: equal if and only if the problems are."""

    @abstractmethod
    def describe(self, folder: Path) -> None:
        """Write data.json (files, digests, counts) and rejects.jsonl (rows left out) into a run's folder."""

    @abstractmethod
    def changed_files(self, described: dict[str, Any]) -> list[str]:
        """The files that are not what they were when `described`, a data.json, was written."""
