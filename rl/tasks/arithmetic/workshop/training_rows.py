"""Training rows for the arithmetic world's reward models, in the published forms (`rewards.training.row_formats`).

The labels come from the world's verifier. The problems are from its training split.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from rl.tasks.arithmetic.verify import lines_of, right_steps
from rl.tasks.arithmetic.workshop.attributes import OBJECTIVES, attributes
from rl.tasks.arithmetic.workshop.batches import draw_solution
from rl.tasks.arithmetic.workshop.judging import draw_response, judgement
from rl.tasks.arithmetic.workshop.multiobjective import preference_pairs
from rl.tasks.arithmetic.world import World

Row = dict[str, Any]

SIGNS = {True: "+", False: "-"}


def process_rows(generator: random.Random, world: World) -> Iterator[Row]:
    """Solutions of all kinds, with a sign for each step."""
    while True:
        story = world.story(generator)
        lines = lines_of("\n".join(draw_solution(generator, story)))
        if not lines:
            continue
        users = [f"{story.problem} {lines[0]}", *lines[1:]]
        signs = [SIGNS[right] for right in right_steps(story.lines, lines)]
        yield {"conversations": [turn for pair in zip(users, signs, strict=True) for turn in _exchange(*pair)]}


def outcome_rows(generator: random.Random, world: World) -> Iterator[Row]:
    """Solutions of all kinds, with a sign for the answer."""
    while True:
        story = world.story(generator)
        lines = draw_solution(generator, story)
        solution = "\n".join(lines)
        if solution.strip():
            sign = SIGNS[lines[-1] == story.lines[-1]]
            yield {"conversations": _exchange(f"{story.problem} {solution}", sign)}


def pair_rows(generator: random.Random, world: World) -> Iterator[Row]:
    """Pairs of a response with the right answer and one with a wrong answer."""
    while True:
        for story, better, worse in preference_pairs(world, generator.getrandbits(32), 64):
            if worse.strip():
                yield {"chosen": _exchange(story.problem, better), "rejected": _exchange(story.problem, worse)}


def objective_rows(generator: random.Random, world: World) -> Iterator[Row]:
    """Solutions of all kinds, with their ratings (`attributes`)."""
    while True:
        story = world.story(generator)
        solution = "\n".join(draw_solution(generator, story))
        if solution.strip():
            values = dict(zip(OBJECTIVES, attributes(story, solution), strict=True))
            yield {"messages": _exchange(story.problem, solution), **values}


def judgement_rows(generator: random.Random, world: World) -> Iterator[Row]:
    """Two responses of all kinds, with the judgement that the world's judge should write."""
    while True:
        story = world.story(generator)
        a, b = draw_response(generator, story, world), draw_response(generator, story, world)
        yield {"question": story.problem, "response_a": a, "response_b": b, "judgement": judgement(story, a, b)}


KINDS: dict[str, Callable[[random.Random, World], Iterator[Row]]] = {
    "prm": process_rows,
    "orm": outcome_rows,
    "pairs": pair_rows,
    "objectives": objective_rows,
    "judgements": judgement_rows,
}
"""The generator for each kind of rows. `pairs` are also ArmoRM's second file."""


def draw_rows(kind: str, count: int, seed: int = 1, world: World | None = None) -> list[Row]:
    """Draw `count` rows of a kind. The same seed gives the same rows."""
    return list(islice(KINDS[kind](random.Random(f"{kind} {seed}"), world or World()), count))


def _exchange(user: str, assistant: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]
