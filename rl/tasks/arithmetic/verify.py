"""The arithmetic world's verifier: which steps of a solution are right, by rule.

A step is right if it is the reference's next step: the same day, event and equation (`a + b` equals `b + a`, and
`a * b` equals `b * a`). After the first wrong step every step is wrong, as in Math-Shepherd's labels: nothing right
follows from it. A line after the answer is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

STEP = re.compile(r"Day (\d+): (.+), so (\d+) ([-+*/]) (\d+) = (\d+)")


def lines_of(text: str) -> list[str]:
    """The steps of a solution: its lines, stripped, without empty ones."""
    return [line.strip() for line in text.split("\n") if line.strip()]


def canonical(line: str) -> str:
    """The line, stripped, with the operands of a commutative equation sorted."""
    match = STEP.fullmatch(line.strip())
    if not match:
        return line.strip()
    day, phrase, left, sign, right, result = match.groups()
    if sign in "+*" and int(left) > int(right):
        left, right = right, left
    return f"Day {day}: {phrase}, so {left} {sign} {right} = {result}"


def right_steps(reference: Sequence[str], lines: Sequence[str]) -> list[bool]:
    """Whether each line is right, given the reference's lines. Once False, always False."""
    verdicts: list[bool] = []
    right = True
    for index, line in enumerate(lines):
        right = right and index < len(reference) and canonical(line) == canonical(reference[index])
        verdicts.append(right)
    return verdicts
