"""Draws the arithmetic world's problems with a given difficulty, from one of its two splits."""

from __future__ import annotations

import random
from dataclasses import dataclass

from rl.tasks.arithmetic.story import Story, draw_story


@dataclass(frozen=True)
class World:
    """The difficulty of the problems: the range of days in a story, and the largest count."""

    days: tuple[int, int] = (2, 4)
    largest: int = 20

    def story(self, generator: random.Random, held_out: bool = False) -> Story:
        """Draw one story from the training or the held-out split."""
        while True:
            story = draw_story(generator, generator.randint(*self.days), self.largest)
            if story.held_out == held_out:
                return story
