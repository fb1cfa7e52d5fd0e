"""Random short word problems, each with a worked solution.

    Tom has 7 apples. Day 1: finds 5. Day 2: halves them. How many apples does Tom have?

    Day 1: finds 5, so 7 + 5 = 12
    Day 2: halves them, so 12 / 2 = 6
    The answer is: 6

Every line is a step, and the last line states the answer. A step names its day and repeats the day's event before the
equation, so that a small model can learn to check it: the event against the problem, and the equation against the
event.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass

NAMES = ("Tom", "Ann", "Ben", "Eva", "Max", "Lea", "Sam", "Ida", "Leo", "Mia", "Jon", "Zoe")
ITEMS = ("apples", "pens", "coins", "cards", "books", "shells", "stamps", "eggs")
GAINS = ("finds", "buys", "wins", "picks")
LOSSES = ("loses", "sells", "eats", "drops")
SCALINGS = {"doubles": ("*", 2), "triples": ("*", 3), "halves": ("/", 2)}
SIGNS = {**{verb: "+" for verb in GAINS}, **{verb: "-" for verb in LOSSES}, **{v: s for v, (s, _) in SCALINGS.items()}}


@dataclass(frozen=True)
class Event:
    """What happens on one day, and the resulting equation `before sign operand = after`."""

    verb: str
    before: int
    sign: str
    operand: int
    after: int

    @property
    def phrase(self) -> str:
        """The event in words, as in both the problem and the solution."""
        return f"{self.verb} them" if self.verb in SCALINGS else f"{self.verb} {self.operand}"

    @property
    def equation(self) -> str:
        return f"{self.before} {self.sign} {self.operand} = {self.after}"


@dataclass(frozen=True)
class Story:
    """A problem of the arithmetic world: who has how many of which item, and what happens on each day."""

    name: str
    item: str
    start: int
    events: tuple[Event, ...]

    @property
    def problem(self) -> str:
        """The question as the policy reads it."""
        days = " ".join(f"Day {day}: {event.phrase}." for day, event in enumerate(self.events, 1))
        return f"{self.name} has {self.start} {self.item}. {days} How many {self.item} does {self.name} have?"

    @property
    def answer(self) -> int:
        return self.events[-1].after

    @property
    def lines(self) -> tuple[str, ...]:
        """The reference solution, one step per line."""
        steps = [step_line(day, event.phrase, event.equation) for day, event in enumerate(self.events, 1)]
        return (*steps, answer_line(self.answer))

    @property
    def held_out(self) -> bool:
        """Whether this problem is in the held-out split. Only its text decides, so the splits cannot overlap."""
        return hashlib.sha256(self.problem.encode()).digest()[0] < 32  # one problem in eight


def step_line(day: int, phrase: str, equation: str) -> str:
    """One step of a solution."""
    return f"Day {day}: {phrase}, so {equation}"


def answer_line(answer: int) -> str:
    """The last line of a solution."""
    return f"The answer is: {answer}"


def draw_story(generator: random.Random, days: int, largest: int) -> Story:
    """Draw one story over `days` days, in which all counts are in 0..largest. `largest` must be at least 12."""
    start = value = generator.randint(2, largest - 2)
    events = []
    for _ in range(days):
        event = _draw_event(generator, value, largest)
        events.append(event)
        value = event.after
    return Story(generator.choice(NAMES), generator.choice(ITEMS), start, tuple(events))


def _draw_event(generator: random.Random, value: int, largest: int) -> Event:
    """One event that keeps the count in 0..largest. If possible, gains and losses are twice as likely as scalings."""
    scalings = [
        verb
        for verb, (sign, factor) in SCALINGS.items()
        if value > 0 and (value % factor == 0 if sign == "/" else value * factor <= largest)
    ]
    kinds = ["gain"] * (2 * (value < largest)) + ["loss"] * (2 * (value > 0)) + ["scale"] * bool(scalings)
    kind = generator.choice(kinds)
    if kind == "scale":
        verb = generator.choice(scalings)
        sign, factor = SCALINGS[verb]
        return Event(verb, value, sign, factor, value * factor if sign == "*" else value // factor)
    if kind == "gain":
        operand = generator.randint(1, min(9, largest - value))
        return Event(generator.choice(GAINS), value, "+", operand, value + operand)
    operand = generator.randint(1, min(9, value))
    return Event(generator.choice(LOSSES), value, "-", operand, value - operand)
