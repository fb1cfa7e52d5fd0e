r"""The forms of an answer: number with unit, time, date, choice, several of these, words, or mathematics."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from rewards.grading.units import Unit

NO_UNIT = Unit("")


@dataclass(frozen=True)
class Formula:
    """Mathematics that needs algebra, in LaTeX, without surrounding spaces."""

    latex: str


@dataclass(frozen=True)
class Quantity:
    """A number and its unit. `value` is in base units; `digits` is the number as written."""

    value: Fraction | Formula
    unit: Unit = NO_UNIT
    digits: Fraction | Formula | None = None


@dataclass(frozen=True)
class Clock:
    """A time of day, in minutes; `half` says whether it was given with am or pm."""

    minutes: int
    half: Literal["am", "pm"] | None


@dataclass(frozen=True)
class Day:
    """A date; the year may be missing."""

    month: int
    day: int
    year: int | None


@dataclass(frozen=True)
class Choice:
    """A letter of a multiple choice, optionally with its text."""

    letter: str
    content: Reading | None = None


@dataclass(frozen=True)
class Words:
    """Words, ignoring case and articles; numbers among them are compared by value."""

    tokens: tuple[str | Fraction, ...]


@dataclass(frozen=True)
class Several:
    """Several answers: a list or set (order ignored), a tuple or interval, a union of intervals, rows of a matrix."""

    kind: Literal["list", "tuple", "union", "matrix"]
    items: tuple[Reading, ...]
    brackets: str = ""


@dataclass(frozen=True)
class Named:
    """A named value, such as `x = 5`."""

    name: str
    value: Reading


Reading = Quantity | Clock | Day | Choice | Words | Several | Named
