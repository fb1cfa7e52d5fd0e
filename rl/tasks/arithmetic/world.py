"""The world's problems: how hard they are, and which split each belongs to."""

from __future__ import annotations

import random
from dataclasses import dataclass

from rl.tasks.arithmetic.story import Story, tell


@dataclass(frozen=True)
class World:
    """How hard the problems are: the days of a story and the largest count."""

    days: tuple[int, int] = (2, 4)
    largest: int = 20

    def story(self, generator: random.Random, held_out: bool = False) -> Story:
        """One story of the wanted split."""
        while True:
            story = tell(generator, generator.randint(*self.days), self.largest)
            if story.held_out == held_out:
                return story
