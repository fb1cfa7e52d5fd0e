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
    """Word problems over a few days. Difficulty: more days, larger counts.

    `min_days` and `max_days` bound the days of a story (1..9), `largest` the counts in it (12..99). The shipped models
    know 2 to 4 days and counts up to 20.
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
        """Whether the last line states the right answer, in the world's own words."""
        lines = lines_of(text)
        return bool(lines) and lines[-1] == f"The answer is: {problem.answer}"

    def grade_steps(self, problem: Problem, text: str) -> list[bool]:
        """Whether each line is right; once False, always False."""
        return right_steps(problem.metadata["lines"], lines_of(text))

    def _problems(self, generator: random.Random, held_out: bool) -> Iterator[Problem]:
        world = World((self.min_days, self.max_days), self.largest)
        index = 0
        while True:
            yield as_problem(world.story(generator, held_out), f"{'held-out' if held_out else 'train'}-{index}")
            index += 1


def as_problem(story: Story, name: str) -> Problem:
    """The story as a Problem; the metadata hold the reference's lines."""
    return Problem(name, story.problem, str(story.answer), {"lines": list(story.lines), "days": len(story.events)})
