"""The arithmetic world as a task of the loop."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from rewards.types import Problem
from rl.tasks import Task
from rl.tasks.arithmetic.story import Story
from rl.tasks.arithmetic.verify import lines_of, right_steps
from rl.tasks.arithmetic.world import World

HELD_OUT_SEED = 20_261_122


@dataclass(frozen=True)
class ArithmeticTask(Task):
    """Word problems about a few days. More days and larger counts are more difficult.

    A story has `min_days` to `max_days` days (1..9) and counts up to `largest` (12..99). The shipped models were
    trained on 2 to 4 days and counts up to 20.
    """

    min_days: int = 2
    max_days: int = 4
    largest: int = 20

    grades_steps = True

    def __post_init__(self) -> None:
        if not 1 <= self.min_days <= self.max_days <= 9:
            raise ValueError(
                f"min_days ({self.min_days}) and max_days ({self.max_days}) must satisfy 1 <= min <= max <= 9"
            )
        if not 12 <= self.largest <= 99:
            raise ValueError(f"largest must be in 12..99, not {self.largest}")

    def train_problems(self, seed: int) -> Iterator[Problem]:
        """An endless stream of training stories."""
        yield from self._problems(random.Random(f"train {seed}"), held_out=False)

    def held_out_problems(self, count: int) -> list[Problem]:
        """The first `count` held-out stories, without repetition."""
        problems: dict[str, Problem] = {}
        for problem in self._problems(random.Random(HELD_OUT_SEED), held_out=True):
            problems.setdefault(problem.text, problem)
            if len(problems) >= count:
                break
        return list(problems.values())

    def grade(self, problem: Problem, text: str) -> bool:
        """Whether the last line is exactly `The answer is: ` and the right answer."""
        lines = lines_of(text)
        return bool(lines) and lines[-1] == f"The answer is: {problem.answer}"

    def grade_steps(self, problem: Problem, text: str) -> list[bool]:
        """Whether each line is right; all lines after a wrong one are wrong."""
        return right_steps(problem.metadata["lines"], lines_of(text))

    def _problems(self, generator: random.Random, held_out: bool) -> Iterator[Problem]:
        world = World((self.min_days, self.max_days), self.largest)
        index = 0
        while True:
            yield as_problem(world.story(generator, held_out), f"{'held-out' if held_out else 'train'}-{index}")
            index += 1


def as_problem(story: Story, name: str) -> Problem:
    """The story as a Problem. Its metadata contain the lines of the reference solution."""
    return Problem(name, story.problem, str(story.answer), {"lines": list(story.lines), "days": len(story.events)})
