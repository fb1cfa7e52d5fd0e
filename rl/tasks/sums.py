"""Sums solved step by step: a few numbers added one at a time, with worked examples in the prompt.

A task without files for a small language model, which learns the format from the examples. Every step is verifiable.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from zlib import crc32

from rewards.types import Message, Problem
from rewards.verifier import grade
from rl.tasks import Task

HELD_OUT_SEED = 20_261_125
HELD_OUT_SHARE = 10
"""One in this many sets of numbers is held out."""

_EQUATION = re.compile(r"([0-9]{1,9}(?:\s*\+\s*[0-9]{1,9})+)\s*=\s*([0-9]{1,9})\.?")
_MOST_DRAWS = 20_000


@dataclass(frozen=True)
class SumsTask(Task):
    """Sums of `min_terms` to `max_terms` numbers (2..9), each from 1 to `largest` (9..999).

    `examples` (0..8) solved sums come before each question, as earlier turns of the conversation; they are the same for
    every question. The same numbers in another order are the same sum: they are all held out, or none.
    """

    min_terms: int = 3
    max_terms: int = 3
    largest: int = 20
    examples: int = 4

    grades_steps = True

    def __post_init__(self) -> None:
        if not 2 <= self.min_terms <= self.max_terms <= 9:
            raise ValueError(
                f"min_terms ({self.min_terms}) must be in 2..max_terms, max_terms ({self.max_terms}) in 2..9"
            )
        if not 9 <= self.largest <= 999:
            raise ValueError(f"largest must be in 9..999, not {self.largest}")
        if not 0 <= self.examples <= 8:
            raise ValueError(f"examples must be in 0..8, not {self.examples}")

    def train_problems(self, seed: int) -> Iterator[Problem]:
        """Training sums without end."""
        turns = self._worked_examples()
        for index, numbers in enumerate(self._draws(random.Random(f"train {seed}"), held_out=False)):
            yield as_problem(numbers, f"train-{index}", turns)

    def held_out_problems(self, count: int) -> list[Problem]:
        """The first `count` held-out sums, without repetition. Raises ValueError if there are fewer."""
        turns = self._worked_examples()
        found: dict[tuple[int, ...], None] = {}
        since = 0
        draws = self._draws(random.Random(HELD_OUT_SEED), held_out=True)
        while len(found) < count:
            numbers = next(draws)
            since = since + 1 if numbers in found else 0
            found[numbers] = None
            if since == _MOST_DRAWS:
                raise ValueError(
                    f"{count} held-out problems were requested, but there are only {len(found)} such sums: "
                    "raise task.largest or task.max_terms"
                )
        return [as_problem(numbers, f"held-out-{index}", turns) for index, numbers in enumerate(found)]

    def grade(self, problem: Problem, text: str) -> bool:
        """Whether the announced final answer is the sum. May raise `rewards.grading.comparison.Undecided`."""
        return grade(text, problem.answer or "")

    def grade_steps(self, problem: Problem, text: str) -> list[bool]:
        """Whether each line is right; once False, always False (see `right_steps`)."""
        lines = [line.strip() for line in text.split("\n") if line.strip()]
        return right_steps(problem.metadata["numbers"], lines)

    def _worked_examples(self) -> tuple[Message, ...]:
        """Solved sums as turns of a conversation; their lengths take turns from `min_terms` to `max_terms`."""
        generator = random.Random("examples")
        turns: list[Message] = []
        for index in range(self.examples):
            terms = self.min_terms + index % (self.max_terms - self.min_terms + 1)
            numbers = [generator.randint(1, self.largest) for _ in range(terms)]
            while is_held_out(numbers):
                numbers = [generator.randint(1, self.largest) for _ in range(terms)]
            turns.append({"role": "user", "content": question(numbers)})
            turns.append({"role": "assistant", "content": "\n".join(solution(numbers))})
        return tuple(turns)

    def _draws(self, generator: random.Random, held_out: bool) -> Iterator[tuple[int, ...]]:
        while True:
            terms = generator.randint(self.min_terms, self.max_terms)
            numbers = tuple(generator.randint(1, self.largest) for _ in range(terms))
            if is_held_out(numbers) == held_out:
                yield numbers


def as_problem(numbers: Sequence[int], name: str, turns: Sequence[Message]) -> Problem:
    """The sum as a Problem, after the worked examples; the metadata hold its numbers and solution."""
    metadata = {"numbers": list(numbers), "lines": solution(numbers)}
    asked: Message = {"role": "user", "content": question(numbers)}
    return Problem(name, (*turns, asked), str(sum(numbers)), metadata)


def question(numbers: Sequence[int]) -> str:
    """The sum in words."""
    return f"What is {' + '.join(map(str, numbers))}?"


def solution(numbers: Sequence[int]) -> list[str]:
    """The lines of the solution: one addition each, then the answer."""
    lines, total = [], numbers[0]
    for number in numbers[1:]:
        lines.append(f"{total} + {number} = {total + number}")
        total += number
    return [*lines, f"The answer is: {total}"]


def is_held_out(numbers: Sequence[int]) -> bool:
    """Whether these numbers, in any order, belong to the held-out problems."""
    return crc32(repr(sorted(numbers)).encode()) % HELD_OUT_SHARE == 0


def right_steps(numbers: Sequence[int], lines: Sequence[str]) -> list[bool]:
    """Whether each line is right; nothing right follows from a wrong one, so once False, always False.

    An addition is right if it correctly adds numbers that are still to be added, including results of earlier lines, in
    any order. The answer is right if it equals the sum. Any other line is wrong, and so is any line after the answer.
    """
    left, total = Counter(numbers), sum(numbers)
    verdicts: list[bool] = []
    right, answered = True, False
    for line in lines:
        if right and not answered:
            if match := _EQUATION.fullmatch(line):
                terms = Counter(int(term) for term in match[1].split("+"))
                result = int(match[2])
                right = terms <= left and sum(terms.elements()) == result
                left = left - terms + Counter([result])
            else:
                right = answered = grade(line, str(total))
        else:
            right = False
        verdicts.append(right)
    return verdicts
