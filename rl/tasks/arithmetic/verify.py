"""The arithmetic world's verifier: rules that decide which steps of a solution are right.

A step is right if it is the reference's next step, with the same day, event and equation (`a + b` equals `b + a`, and
`a * b` equals `b * a`). As in Math-Shepherd's labels, all steps after a wrong one are wrong. So is a line after the
answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

STEP = re.compile(r"Day (\d+): (.+), so (\d+) ([-+*/]) (\d+) = (\d+)")


def lines_of(text: str) -> list[str]:
    """The steps of a solution: its lines, stripped, without the empty ones."""
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
    """Whether each line is right, given the reference's lines. All lines after a wrong one are wrong."""
    verdicts: list[bool] = []
    right = True
    for index, line in enumerate(lines):
        right = right and index < len(reference) and canonical(line) == canonical(reference[index])
        verdicts.append(right)
    return verdicts
