"""Where problems come from, and what is true of an answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from rewards.types import Problem


class Task(Protocol):
    """A source of problems with two splits that do not overlap, and the truth about a response.

    The truth (`grade`) is what evaluation reports as accuracy; a run may train on any reward. A task whose
    problems have no answers says so by an attribute `graded` that is False: no accuracy is reported then.
    """

    def train_problems(self, seed: int) -> Iterator[Problem]:
        """Training problems without end, in an order that the seed alone decides."""
        ...

    def held_out_problems(self, count: int) -> list[Problem]:
        """The first `count` held-out problems, always the same. Raises ValueError when there are fewer."""
        ...

    def grade(self, problem: Problem, text: str) -> bool:
        """Whether the response's final answer is right."""
        ...
