"""Where problems come from, and which answers are right."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

from rewards.types import Problem


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
        """Whether the response's final answer is right."""

    def grade_steps(self, problem: Problem, text: str) -> list[bool]:
        """Whether each line of the response is right. Only a task that `grades_steps` has it."""
        raise NotImplementedError(f"{type(self).__name__} does not grade steps")
