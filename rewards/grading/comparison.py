"""Whether two answers are equal: decided here for numbers and words, and by `rewards.symbolic` for formulas.

A verdict is `same` (equal), `alike` (equal except that one side lacks the other's unit, name or year), or `different`.
Grading treats alike as equal; voting needs more care (`rewards.grading.classes`), since alike is not transitive.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Literal

from rewards.grading.forms import NO_UNIT, Choice, Clock, Day, Formula, Named, Quantity, Reading, Several

Verdict = Literal["same", "alike", "different"]
Ask = Callable[[str, str], Verdict]
"""Compares two formulas in LaTeX; may raise `Undecided`."""

_ORDER: dict[Verdict, int] = {"different": 0, "alike": 1, "same": 2}
_ORDINARY_BRACKETS = ("()", "[]")


class Undecided(Exception):
    """Two answers could not be compared; the message says why."""


def compare(one: Reading, other: Reading, ask: Ask) -> Verdict:
    """The verdict on two answers; their order does not matter. Raises `Undecided` if `ask` does."""
    if one == other:
        return "same"
    if isinstance(one, Named) or isinstance(other, Named):
        return _compare_named(one, other, ask)
    if isinstance(one, Choice) or isinstance(other, Choice):
        return _compare_choices(one, other, ask)
    if isinstance(one, Several) or isinstance(other, Several):
        return _compare_several(one, other, ask)
    if isinstance(one, Quantity) and isinstance(other, Quantity):
        return _compare_quantities(one, other, ask)
    if isinstance(one, Clock) or isinstance(other, Clock):
        return _compare_clocks(one, other)
    if isinstance(one, Day) and isinstance(other, Day) and None in (one.year, other.year):
        return "alike" if (one.month, one.day) == (other.month, other.day) else "different"
    return "different"


def _least(verdicts: Sequence[Verdict]) -> Verdict:
    return min(verdicts, key=_ORDER.__getitem__, default="same")


def _compare_named(one: Reading, other: Reading, ask: Ask) -> Verdict:
    if isinstance(one, Named) and isinstance(other, Named):
        if one.name == other.name:
            return compare(one.value, other.value, ask)
        left, right = _equation(one), _equation(other)
        return ask(*sorted((left, right))) if left and right else "different"
    named, plain = (one, other) if isinstance(one, Named) else (other, one)
    equation = _equation(named)
    if equation and isinstance(plain, Quantity) and isinstance(plain.value, Formula) and "=" in plain.value.latex:
        return ask(*sorted((equation, plain.value.latex)))
    assert isinstance(named, Named)
    return _least([compare(named.value, plain, ask), "alike"])


def _equation(reading: Reading) -> str | None:
    """An equation such as `y = 2x + 1` in LaTeX; None if the value needs no algebra."""
    if isinstance(reading, Named) and isinstance(reading.value, Quantity) and isinstance(reading.value.value, Formula):
        return f"{reading.name}={reading.value.value.latex}"
    return None


def _compare_choices(one: Reading, other: Reading, ask: Ask) -> Verdict:
    if isinstance(one, Choice) and isinstance(other, Choice):
        if one.letter != other.letter:
            return "different"
        if one.content is None or other.content is None:
            return "alike"
        return compare(one.content, other.content, ask)
    choice, plain = (one, other) if isinstance(one, Choice) else (other, one)
    content = choice.content if isinstance(choice, Choice) else None
    return "different" if content is None else _least([compare(content, plain, ask), "alike"])


def _compare_several(one: Reading, other: Reading, ask: Ask) -> Verdict:
    if not isinstance(one, Several) or not isinstance(other, Several):
        several, single = (one, other) if isinstance(one, Several) else (other, one)
        assert isinstance(several, Several)
        if several.kind != "list" or len(set(several.items)) != 1:
            return "different"
        return _least([compare(several.items[0], single, ask), "alike"])
    if one.kind == other.kind:
        if one.kind in ("list", "union"):
            return _match(list(dict.fromkeys(one.items)), list(dict.fromkeys(other.items)), ask)
        return _in_order(one, other, ask) if one.brackets == other.brackets else "different"
    kinds = {one.kind, other.kind}
    tuple_ = one if one.kind == "tuple" else other
    if kinds == {"tuple", "list"} and tuple_.brackets in _ORDINARY_BRACKETS:
        return _least([_in_order(one, other, ask), "alike"])
    if kinds == {"tuple", "matrix"} and tuple_.brackets in _ORDINARY_BRACKETS:
        matrix = other if tuple_ is one else one
        rows = [row.items if isinstance(row, Several) else (row,) for row in matrix.items]
        if len(rows) == 1 or all(len(row) == 1 for row in rows):
            flat = Several("tuple", tuple(cell for row in rows for cell in row), tuple_.brackets)
            return _least([_in_order(flat, tuple_, ask), "alike"])
    return "different"


def _in_order(one: Several, other: Several, ask: Ask) -> Verdict:
    if len(one.items) != len(other.items):
        return "different"
    verdict: Verdict = "same"
    for left, right in zip(one.items, other.items, strict=True):
        verdict = _least([verdict, compare(left, right, ask)])
        if verdict == "different":
            break
    return verdict


def _match(left: list[Reading], right: list[Reading], ask: Ask) -> Verdict:
    """Match every item with a different item on the other side, as a bipartite matching."""
    if len(left) != len(right) or len(left) > 100:
        return "different"
    both = [item for item in left if item in right]
    left = [item for item in left if item not in both]
    right = [item for item in right if item not in both]
    partner: dict[int, int] = {}
    verdicts = [[compare(a, b, ask) for b in right] for a in left]

    def place(item: int, seen: set[int]) -> bool:
        for other, verdict in enumerate(verdicts[item]):
            if verdict != "different" and other not in seen:
                seen.add(other)
                if other not in partner or place(partner[other], seen):
                    partner[other] = item
                    return True
        return False

    if not all(place(item, set()) for item in range(len(left))):
        return "different"
    return _least([verdicts[item][other] for other, item in partner.items()])


def _compare_quantities(one: Quantity, other: Quantity, ask: Ask) -> Verdict:
    if one.unit == other.unit:
        return _compare_values(one.value, other.value, ask)
    if NO_UNIT in (one.unit, other.unit):
        bare, full = (one, other) if one.unit == NO_UNIT else (other, one)
        return _least([_compare_bare(bare, full, ask), "alike"])
    names = sorted((one.unit.name, other.unit.name), key=len)
    if (names[1].startswith(names[0] + " ") and names[0] == "degree") or names[1].endswith(" " + names[0]):
        return _least([_compare_values(one.value, other.value, ask), "alike"])
    return "different"


def _compare_bare(bare: Quantity, full: Quantity, ask: Ask) -> Verdict:
    """Compare a number without a unit to one with a unit: as written, or by value for a percentage or a base."""
    notation = full.unit.name in ("%", "base")
    if notation and _compare_values(bare.value, full.value, ask) != "different":
        return "alike"
    if full.digits is None or (full.unit.name == "%" and isinstance(full.digits, Fraction) and abs(full.digits) < 1):
        return "different"
    return _compare_values(bare.value, full.digits, ask)


def _compare_values(one: Fraction | Formula, other: Fraction | Formula, ask: Ask) -> Verdict:
    if isinstance(one, Fraction) and isinstance(other, Fraction):
        return "same" if one == other else "different"
    left, right = sorted((as_latex(one), as_latex(other)))
    if left == right:
        return "same"
    if left.replace(" ", "") == right.replace(" ", "") and "\\" not in left:
        return "same"
    return ask(left, right)


def as_latex(value: Fraction | Formula) -> str:
    """The value in LaTeX."""
    if isinstance(value, Formula):
        return value.latex
    if value.denominator == 1:
        return str(value.numerator) if value.numerator.bit_length() < 10_000 else "\\text{too large}"
    if value.denominator.bit_length() > 10_000:
        return "\\text{too large}"
    return _as_decimal(value) or rf"\frac{{{value.numerator}}}{{{value.denominator}}}"


def _as_decimal(value: Fraction) -> str | None:
    """The value as a decimal, if it terminates within 40 places."""
    places = next((places for places in range(1, 41) if 10**places % value.denominator == 0), None)
    if places is None:
        return None
    digits = str(abs(value.numerator) * (10**places // value.denominator)).rjust(places + 1, "0")
    return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"


def _compare_clocks(one: Reading, other: Reading) -> Verdict:
    if isinstance(one, Clock) and isinstance(other, Clock):
        if one.half is not None and other.half is not None:
            return "same" if one.minutes == other.minutes else "different"
        return "alike" if (one.minutes - other.minutes) % 720 == 0 else "different"
    clock, number = (one, other) if isinstance(one, Clock) else (other, one)
    assert isinstance(clock, Clock)
    if isinstance(number, Quantity) and number.unit == NO_UNIT and isinstance(number.value, Fraction):
        on_the_hour = clock.minutes % 60 == 0 and clock.half is not None
        return "alike" if on_the_hour and number.value == (clock.minutes // 60 - 1) % 12 + 1 else "different"
    return "different"


def formulas(reading: Reading) -> list[str]:
    """The formulas in an answer."""
    if isinstance(reading, Quantity):
        return [reading.value.latex] if isinstance(reading.value, Formula) else []
    if isinstance(reading, Several):
        return [latex for item in reading.items for latex in formulas(item)]
    if isinstance(reading, Named):
        return formulas(reading.value)
    if isinstance(reading, Choice):
        return formulas(reading.content) if reading.content is not None else []
    return []


def form(reading: Reading) -> Reading:
    """A canonical form for answers that are the same without algebra: lists sorted, digits as written dropped."""
    if isinstance(reading, Quantity):
        value = (
            Formula(reading.value.latex.replace(" ", ""))
            if isinstance(reading.value, Formula) and "\\" not in reading.value.latex
            else reading.value
        )
        return Quantity(value, reading.unit)
    if isinstance(reading, Named):
        return Named(reading.name, form(reading.value))
    if isinstance(reading, Choice):
        return Choice(reading.letter, None if reading.content is None else form(reading.content))
    if isinstance(reading, Several):
        items = [form(item) for item in reading.items]
        if reading.kind in ("list", "union"):
            items = sorted(set(items), key=repr)
        return Several(reading.kind, tuple(items), reading.brackets)
    return reading
