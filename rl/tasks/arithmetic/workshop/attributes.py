"""Ratings of a response that rules can compute: the objectives of the world's ArmoRM, each in [0, 1].

| objective         | value                                                                           |
|-------------------|---------------------------------------------------------------------------------|
| answer-correct    | 1 if the last line states the right answer, otherwise 0                         |
| steps-correct     | share of lines that are right (`verify.right_steps`)                            |
| follows-problem   | share of the problem's days that have a line with their event                   |
| equations-hold    | share of equations that hold; 0 if there are none                               |
| well-formed       | share of lines that have the form of a step or an answer                        |
| complete          | 1 if there are all days in order, then the answer, and nothing else; otherwise 0 |
| verbosity         | words / (2 * the reference's words), at most 1                                  |
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rl.tasks.arithmetic.story import Story
from rl.tasks.arithmetic.verify import STEP, lines_of, right_steps
from rl.tasks.arithmetic.workshop.mistakes import compute

ANSWER = re.compile(r"The answer is: (\d{1,3})")
"""Matches a line that states the answer; the group is the answer."""

OBJECTIVES = (
    "answer-correct",
    "steps-correct",
    "follows-problem",
    "equations-hold",
    "well-formed",
    "complete",
    "verbosity",
)


def attributes(story: Story, response: str) -> tuple[float, ...]:
    """The objectives of a response to the story's problem, in the order of `OBJECTIVES`."""
    lines = lines_of(response)
    steps = [match.groups() for line in lines if (match := STEP.fullmatch(line))]
    events = {(int(day), phrase) for day, phrase, *_ in steps}
    days = [int(day) for day, *_ in steps]
    wanted = list(range(1, len(story.events) + 1))
    answers = [index for index, line in enumerate(lines) if ANSWER.fullmatch(line)]
    reference = " ".join(story.lines).split()
    return (
        float(bool(lines) and lines[-1] == story.lines[-1]),
        _share(right_steps(story.lines, lines)),
        _share([(day, event.phrase) in events for day, event in enumerate(story.events, 1)]),
        _share([_holds(int(left), sign, int(right), int(after)) for _, _, left, sign, right, after in steps]),
        (len(steps) + len(answers)) / max(len(lines), 1),
        float(days == wanted and answers == [len(wanted)] and len(lines) == len(wanted) + 1),
        min(len(response.split()) / (2 * len(reference)), 1.0),
    )


def _holds(left: int, sign: str, right: int, after: int) -> bool:
    exact = sign != "/" or (right > 0 and left % right == 0)
    return exact and compute(left, sign, right) == after


def _share(verdicts: Sequence[bool]) -> float:
    return sum(verdicts) / len(verdicts) if verdicts else 0.0
