"""Short exercises that teach a process reward model to check, before it sees whole solutions.

From whole solutions alone, a small model does not learn to check within an hour, because one label covers a dozen
comparisons. It learns a single equation in a minute. After that come lines (does the equation follow from the event?),
recall (is this the day's event in the problem?), and solutions of increasing length. Each exercise is one turn with one
label.
"""

from __future__ import annotations

import random

from rl.tasks.arithmetic.story import GAINS, LOSSES, SCALINGS, SIGNS, Story, step_line
from rl.tasks.arithmetic.workshop.mistakes import compute, near

Exercise = tuple[str, str, str]
"""Three texts: the context (possibly empty), the text to judge, and the right text in its place."""


def equation(generator: random.Random, story: Story) -> Exercise:
    """Judge `7 + 5 = 12`: is the result right?"""
    event = generator.choice(story.events)
    before, sign, operand = event.before, event.sign, event.operand
    if generator.random() < 0.3:  # other numbers too, as they occur after a mistake
        before, operand = generator.randint(0, 30), generator.randint(1, 9)
        sign = generator.choice("+-*") if before * operand < 100 else generator.choice("+-")
        if sign == "-" and operand > before:
            sign = "+"
    result = compute(before, sign, operand)
    right = generator.random() < 0.5
    shown = result if right else near(generator, result) if generator.random() < 0.8 else generator.randint(0, 30)
    return "", f"{before} {sign} {operand} = {shown}", f"{before} {sign} {operand} = {result}"


def line(generator: random.Random, story: Story) -> Exercise:
    """Judge `Day 2: finds 5, so 7 + 5 = 12`: does the equation match the event, and is it right?"""
    day = generator.randrange(len(story.events))
    event = story.events[day]
    sign, operand = event.sign, event.operand
    fault = generator.choice(("none", "none", "none", "sign", "operand", "result"))
    if fault == "sign":
        sign = generator.choice([other for other in "+-*/" if other != sign])
    if fault == "operand":
        operand = max(near(generator, operand), 1)
    result = compute(event.before, sign, operand)
    if fault == "result":
        result = near(generator, result)
    text = step_line(day + 1, event.phrase, f"{event.before} {sign} {operand} = {result}")
    return "", text, step_line(day + 1, event.phrase, event.equation)


def recall(generator: random.Random, story: Story) -> Exercise:
    """Given the problem, judge `Day 2: finds 5`: is that what happens on that day?"""
    day = generator.randrange(len(story.events))
    phrase = story.events[day].phrase
    fault = generator.choice(("none", "none", "none", "day", "number", "verb"))
    if fault == "day":
        phrase = generator.choice(story.events).phrase
    if fault == "number" and story.events[day].verb not in SCALINGS:
        phrase = f"{story.events[day].verb} {generator.randint(1, 9)}"
    if fault == "verb":
        verb = generator.choice([*GAINS, *LOSSES, *SCALINGS])
        operand = story.events[day].operand if verb in SIGNS and verb not in SCALINGS else 0
        phrase = f"{verb} them" if verb in SCALINGS else f"{verb} {operand}"
    return story.problem, f" Day {day + 1}: {phrase}", f" Day {day + 1}: {story.events[day].phrase}"
