"""Solutions with mistakes, which the policy learns to make and the reward models learn to detect.

`solve_with_slips` writes a solution in which steps may be wrong; later steps continue from the wrong numbers.
`break_form` breaks a solution's form: steps are left out, repeated or swapped, or the answer comes too early. A reward
model that has seen only slips would be hacked with such texts. Neither function says what is right;
`verify.right_steps` decides that for every text.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from rl.tasks.arithmetic.story import (
    GAINS,
    LOSSES,
    SCALINGS,
    SIGNS,
    Event,
    Story,
    answer_line,
    step_line,
)

SLIPS = ("result", "operand", "copy", "before", "sign", "verb")
SLIP_WEIGHTS = (10, 4, 4, 3, 3, 2)


def solve_with_slips(generator: random.Random, story: Story, rate: float) -> list[str]:
    """The lines of a solution. Each step is wrong with probability `rate`; later steps continue from its result."""
    value, earlier, lines = story.start, [story.start], []
    for day, event in enumerate(story.events, 1):
        slip = generator.choices(SLIPS, SLIP_WEIGHTS)[0] if generator.random() < rate else None
        line, value = _write_step(generator, day, event, value, earlier, story, slip)
        earlier.append(value)
        lines.append(line)
    if generator.random() < rate / 4:
        value = near(generator, value)
    return [*lines, answer_line(value)]


def near(generator: random.Random, value: int) -> int:
    """Another count close to `value`, not negative."""
    choices = [value + shift for shift in (-3, -2, -1, 1, 2, 3) if value + shift >= 0]
    return generator.choice(choices)


def compute(value: int, sign: str, operand: int) -> int:
    """The result of an equation, clamped to 0..99 so that it is a single token."""
    result = {"+": value + operand, "-": value - operand, "*": value * operand, "/": value // max(operand, 1)}[sign]
    return min(max(result, 0), 99)


def _write_step(
    generator: random.Random, day: int, event: Event, value: int, earlier: list[int], story: Story, slip: str | None
) -> tuple[str, int]:
    verb, sign, operand, before = event.verb, event.sign, event.operand, value
    if slip == "before":
        before = generator.choice([*earlier, near(generator, value)])
    if slip == "verb":
        other = generator.choice([*GAINS, *LOSSES, *SCALINGS])
        verb, sign = other, SIGNS[other]
        operand = SCALINGS[other][1] if other in SCALINGS else generator.randint(1, 9)
    if slip == "copy":
        operand = generator.choice([near(generator, operand), *[other.operand for other in story.events]])
        if verb in SCALINGS:
            operand = SCALINGS[verb][1]
    phrase = f"{verb} them" if verb in SCALINGS else f"{verb} {operand}"
    if slip == "operand":
        operand = max(near(generator, operand), 1)
    if slip == "sign":
        sign = generator.choice([other for other in "+-*/" if other != sign])
    after = compute(before, sign, operand)
    if slip == "result":
        after = near(generator, after)
    return step_line(day, phrase, f"{before} {sign} {operand} = {after}"), after


def break_form(generator: random.Random, story: Story, lines: list[str]) -> list[str]:
    """The lines with their form broken in one random way."""
    return generator.choice(FORM_MISTAKES)(generator, story, list(lines))


def _leave_out(generator: random.Random, story: Story, lines: list[str]) -> list[str]:
    del lines[generator.randrange(len(lines))]
    return lines or [answer_line(story.start)]


def _repeat(generator: random.Random, story: Story, lines: list[str]) -> list[str]:
    index = generator.randrange(len(lines))
    return [*lines[: index + 1], *lines[index:]]


def _swap(generator: random.Random, story: Story, lines: list[str]) -> list[str]:
    index = generator.randrange(max(len(lines) - 1, 1))
    lines[index : index + 2] = reversed(lines[index : index + 2])
    return lines


def _answer_early(generator: random.Random, story: Story, lines: list[str]) -> list[str]:
    kept = lines[: generator.randrange(len(lines))]
    answers = [story.start, story.answer, generator.randint(0, 30)]
    if kept and kept[-1].rsplit(" ", 1)[-1].isdigit():
        answers.append(int(kept[-1].rsplit(" ", 1)[-1]))
    return [*kept, answer_line(generator.choice(answers))]


def _cut(generator: random.Random, story: Story, lines: list[str]) -> list[str]:
    kept = lines[: generator.randrange(len(lines)) + 1]
    words = kept[-1].split(" ")
    kept[-1] = " ".join(words[: generator.randint(1, len(words))])
    return kept


def _shuffle_words(generator: random.Random, story: Story, lines: list[str]) -> list[str]:
    index = generator.randrange(len(lines))
    words = lines[index].split(" ")
    for _ in range(generator.randint(1, 3)):
        here = generator.randrange(len(words))
        action = generator.choice(("drop", "double", "replace"))
        if action == "drop" and len(words) > 1:
            del words[here]
        elif action == "double":
            words.insert(here, words[here])
        else:
            words[here] = generator.choice(" ".join((story.problem, *lines)).split(" "))
    lines[index] = " ".join(words)
    return lines


def _add_lines(generator: random.Random, story: Story, lines: list[str]) -> list[str]:
    return [*lines, *generator.choices([*lines, answer_line(generator.randint(0, 30))], k=generator.randint(1, 3))]


def _change_answer(generator: random.Random, story: Story, lines: list[str]) -> list[str]:
    lines[-1] = answer_line(generator.choice([near(generator, story.answer), generator.randint(0, 30)]))
    return lines


FORM_MISTAKES: tuple[Callable[[random.Random, Story, list[str]], list[str]], ...] = (
    _leave_out,
    _repeat,
    _swap,
    _answer_early,
    _cut,
    _shuffle_words,
    _add_lines,
    _change_answer,
)
