r"""Inequalities of one variable and bounds in words ("12 or less"), as intervals and unions of intervals."""

from __future__ import annotations

import re
from collections.abc import Callable

from rewards.grading.forms import Formula, Quantity, Reading, Several
from rewards.grading.quantities import read_quantity

Read = Callable[[str], Reading]
"""Reads the ends of an interval."""

NAME = re.compile(r"(?:\\?[A-Za-z]+(?:_\{?\w+\}?)?'?|\|[A-Za-z]+\|)(?:\s*\(\s*[A-Za-z]\s*\))?")
_INEQUALITY = re.compile(r"\s*(\\le(?![a-z])|\\ge(?![a-z])|<|>|\\ne(?![a-z]))\s*")


def read_bound(words: str, text: str) -> Reading | None:
    value = read_quantity(text)
    if value is None:
        return None
    words = words.casefold()
    closed = words.startswith(("at ", "no "))
    upper = words in ("at most", "no more than", "less than", "fewer than")
    ends = (_infinity(-1), value) if upper else (value, _infinity(1))
    return Several("tuple", ends, "(" + ("]" if closed else ")") if upper else ("[" if closed else "(") + ")")


def _infinity(sign: int) -> Quantity:
    return Quantity(Formula("\\infty" if sign > 0 else "-\\infty"))


def read_inequalities(text: str, read: Read) -> Reading | None:
    parts = [part.strip() for part in re.split(r"\s+(?:or|\\lor|\\vee)\s+|,\s*(?:or\s+)?(?=[a-z]\s*[<>\\])", text)]
    intervals = [_inequality(part, read) for part in parts]
    if any(one is None for one in intervals):
        return None
    found = [item for one in intervals if one is not None for item in (one.items if one.kind == "union" else (one,))]
    return found[0] if len(found) == 1 else Several("union", tuple(found))


def _inequality(text: str, read: Read) -> Several | None:
    pieces = _INEQUALITY.split(text)
    if len(pieces) not in (3, 5):
        return None
    if len(pieces) == 5:
        low, first, name, second, high = pieces
        rising = {first, second} <= {"<", "\\le"}
        if not NAME.fullmatch(name) or not (rising or {first, second} <= {">", "\\ge"}):
            return None
        brackets = ("[" if "e" in first else "(") + ("]" if "e" in second else ")")
        return (
            interval(brackets, low, high, read)
            if rising
            else interval(("[" if "e" in second else "(") + ("]" if "e" in first else ")"), high, low, read)
        )
    left, sign, right = pieces
    if NAME.fullmatch(right) and not NAME.fullmatch(left):
        left, right = right, left
        sign = {"<": ">", ">": "<", "\\le": "\\ge", "\\ge": "\\le"}.get(sign, sign)
    if not NAME.fullmatch(left) or NAME.fullmatch(right):
        return None
    if sign == "\\ne":
        ends = interval("()", "-\\infty", right, read), interval("()", right, "\\infty", read)
        return Several("union", ends)
    if sign in ("<", "\\le"):
        return interval("(" + ("]" if "e" in sign else ")"), "-\\infty", right, read)
    return interval(("[" if "e" in sign else "(") + ")", right, "\\infty", read)


def interval(brackets: str, low: str, high: str, read: Read) -> Several:
    return Several("tuple", (read(low), read(high)), brackets)
