r"""Whether two formulas are equal: math-verify parses them; numbers are compared by ratio, expressions at points.

Runs only in the child process of `rewards.symbolic`, since sympy may run forever or use all memory. Decimals are read
as exact fractions. Two constants are the same if they agree in 150 of 200 computed digits: math-verify's own comparison
rounds to a fixed number of decimals and would call 2^{-98} and 2^{-99} equal.
"""

from __future__ import annotations

import logging
import re
from functools import lru_cache
from typing import Any, Literal

import sympy
from math_verify import LatexExtractionConfig, parse, verify

Verdict = Literal["same", "alike", "different"]

_DECIMAL = re.compile(r"(?<![\d.])(\d*)\.(\d+)(?![\d.])")
_CAPITAL = re.compile(r"(?:(\\[A-Z][a-z]+)|\\[A-Za-z]+|([A-Z]))(?:_\{(\w+)\}|_(\w))?")
_DIGITS = 200
_SAME = sympy.Float("1e-150", _DIGITS)
_ALIKE = sympy.Float("1e-9", _DIGITS)
_POINTS = (sympy.Rational(137, 97), sympy.Rational(-71, 101), sympy.Rational(301, 103), sympy.Rational(-257, 107))

logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that its own time limit is off


def compare_formulas(one: str, other: str) -> tuple[Verdict, bool, bool]:
    """The verdict, and for each formula whether it could be read. An unreadable formula differs from all others.

    `alike`: one side has decimals and agrees with the other, an irrational number, to a relative difference of 1e-9.
    """
    left, right = _read(one), _read(other)
    readable = left is not None, right is not None
    if not all(readable):
        return "different", *readable
    decimals = bool(_DECIMAL.search(one) or _DECIMAL.search(other))
    return _compare(left, right, decimals), *readable


@lru_cache(maxsize=1024)
def _read(latex: str) -> Any:
    if re.search(r"\d\s*_", latex):
        return None  # math-verify would ignore the base
    latex = _DECIMAL.sub(_fraction, latex)
    latex = re.sub(r"(?<=[\w)}])\s*\*\s*(?=[\w(\\])", r"\\cdot ", latex)
    latex = _CAPITAL.sub(_told_apart, latex)
    config = LatexExtractionConfig()
    found = parse(f"${latex}$", [config], "no_fallback", "first_match", parsing_timeout=None)
    return _with_imaginary_unit(found[0]) if found and not isinstance(found[0], str) else None


def _with_imaginary_unit(expression: Any) -> Any:
    """`i` is the imaginary unit, except as an index of a sum, product or integral."""
    if not isinstance(expression, sympy.Expr) or expression.has(sympy.Sum, sympy.Product, sympy.Integral):
        return expression
    return expression.subs({symbol: sympy.I for symbol in expression.free_symbols if symbol.name == "i"})


def _told_apart(found: re.Match[str]) -> str:
    """Mark a capital letter: math-verify converts all symbols to lower case, so that R - r would be 0."""
    capital, subscript = found[1] or found[2], found[3] or found[4] or ""
    return found[0] if capital is None else f"{capital.lower()}_{{up{subscript}}}"


def _fraction(found: re.Match[str]) -> str:
    return rf"\frac{{{int(found[1] + found[2])}}}{{{10 ** len(found[2])}}}"


def _compare(one: Any, other: Any, decimals: bool) -> Verdict:
    if isinstance(one, sympy.Expr) and isinstance(other, sympy.Expr):
        one, other = one.doit(), other.doit()
        if one == other:
            return "same"
        if one.free_symbols | other.free_symbols:
            return "same" if _equal_at_points(one, other) else "different"
        return _compare_constants(one, other, decimals)
    if isinstance(one, sympy.Eq) and isinstance(other, sympy.Eq):
        return "same" if _proportional(one.lhs - one.rhs, other.lhs - other.rhs) else "different"
    if type(one) is not type(other):
        return "different"
    options: dict[str, Any] = {"float_rounding": 30, "numeric_precision": 40, "timeout_seconds": None}
    return "same" if verify(one, other, **options) and verify(other, one, **options) else "different"


def _compare_constants(one: Any, other: Any, decimals: bool) -> Verdict:
    if one.is_Rational and other.is_Rational:
        return "same" if one == other else "different"
    if one.is_infinite or other.is_infinite:
        return "different"
    ratio = _difference(one, other)
    if ratio is None:
        return "same" if sympy.simplify(one - other) == 0 else "different"
    if ratio < _SAME:
        return "same"
    return "alike" if decimals and ratio < _ALIKE else "different"


def _difference(one: Any, other: Any) -> Any:
    """|one - other| divided by the larger absolute value; None if they have no numerical values."""
    left, right = sympy.N(one, _DIGITS), sympy.N(other, _DIGITS)
    if not (left.is_number and right.is_number) or left.has(sympy.nan, sympy.zoo) or right.has(sympy.nan, sympy.zoo):
        return None
    largest = max(abs(left), abs(right))
    if largest == 0:
        return sympy.Float(0)
    ratio = abs(left - right) / largest
    return ratio if ratio.is_comparable else None


def _equal_at_points(one: Any, other: Any) -> bool:
    symbols = sorted(one.free_symbols | other.free_symbols, key=str)
    tried = 0
    for number in range(len(_POINTS)):
        values = {
            symbol: _POINTS[(number + place) % 4] + sympy.Rational(place, 13) for place, symbol in enumerate(symbols)
        }
        ratio = _difference(one.subs(values), other.subs(values))
        if ratio is None:
            continue
        if ratio > _SAME:
            return False
        tried += 1
    return tried >= 2 or sympy.simplify(one - other) == 0


def _proportional(one: Any, other: Any) -> bool:
    """Whether two left-hand sides differ only by a non-zero constant factor."""
    if one == 0 or other == 0:
        return bool(one == other)
    symbols = one.free_symbols | other.free_symbols
    if one.free_symbols != other.free_symbols or not symbols:
        return bool(one == other)
    start = {symbol: sympy.Rational(89 + place, 83) for place, symbol in enumerate(sorted(symbols, key=str))}
    here, there = one.subs(start), other.subs(start)
    if there == 0:
        return bool(here == 0 and sympy.simplify(one - other) == 0)
    return bool(here != 0) and _equal_at_points(one * there, other * here)
