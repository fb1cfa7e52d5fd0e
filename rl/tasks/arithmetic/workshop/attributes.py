"""What can be said of a response by rule: the objectives of the world's ArmoRM, each in [0, 1].

| objective         | 1 means                                                                        |
|-------------------|--------------------------------------------------------------------------------|
| answer-correct    | the last line states the right answer                                          |
| steps-correct     | every line is right (`verify.right_steps`); otherwise the share of right lines |
| follows-problem   | every day of the problem has its line with its event; otherwise their share    |
| equations-hold    | every equation holds; otherwise their share (none: 0)                          |
| well-formed       | every line is a step or an answer as the world writes them; otherwise a share  |
| complete          | all days in order, then the answer, and nothing else; otherwise 0              |
| verbosity         | twice as many words as the reference has, or more; else words / (2 * its words) |
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rl.tasks.arithmetic.story import Story
from rl.tasks.arithmetic.verify import STEP, lines_of, right_steps
from rl.tasks.arithmetic.workshop.mistakes import compute

ANSWER = re.compile(r"The answer is: (\d{1,3})")
"""A line that states the answer, and the answer."""

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
    told = {(int(day), phrase) for day, phrase, *_ in steps}
    days = [int(day) for day, *_ in steps]
    wanted = list(range(1, len(story.events) + 1))
    answers = [index for index, line in enumerate(lines) if ANSWER.fullmatch(line)]
    reference = " ".join(story.lines).split()
    return (
        float(bool(lines) and lines[-1] == story.lines[-1]),
        _share(right_steps(story.lines, lines)),
        _share([(day, event.phrase) in told for day, event in enumerate(story.events, 1)]),
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
