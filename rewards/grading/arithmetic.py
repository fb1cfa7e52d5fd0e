r"""Read exact numbers: digits in every usual form, fractions, powers, factorials and rational roots.

The result is None for anything that is not a rational number (`\pi`, `\sqrt{2}`), contains a letter, or would be too
large; that is left to `rewards.symbolic`. A recursive-descent parser for the notation of `rewards.grading.notation`.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction

_DIGITS = (
    r"\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\d,.]\d)"  # 1,234,567.89
    r"|\d{1,3}(?: \d{3})+(?:[.,]\d+)?(?![\d,.]?\d)"  # 1 234 567.89
    r"|\d{1,3}(?:'\d{3})+(?:\.\d+)?(?!\d)"  # 1'234.5
    r"|\d{1,3}(?:\.\d{3})+,\d+(?![\d.,])|\d{1,3}(?:\.\d{3}){2,}(?![\d.,])"  # 1.234,56 and 1.234.567
    r"|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
)
_TOKEN = re.compile(rf"\s*(?:(?P<number>{_DIGITS})|(?P<command>\\[A-Za-z]+)|(?P<sign>[-+*/^!(){{}}\[\]|]))")
_MIXED = re.compile(r"(?<![\d.,/^{])(\d+)\s*(?:\\frac\{(\d+)\}\{(\d+)\}|\s(\d+)\s*/\s*(\d+)(?![\d.,]))")
_REPEATING = re.compile(r"(\d*)\.(\d*)\s*(?:\\overline|\\bar)\s*\{(\d+)\}")
_PLAIN = re.compile(r"[-+]?\d{1,300}(?:\.\d{1,300})?")
_MOST_BITS = 200_000
_LONGEST = 2_000


class _NotExactError(Exception):
    pass


def exact_number(text: str) -> Fraction | None:
    """The rational number that `text` denotes (as written by `notation`); None if it is not one, or is too large."""
    if _PLAIN.fullmatch(text):
        return Fraction(text)
    if len(text) > _LONGEST or not any(sign.isdigit() for sign in text):
        return None
    text = _MIXED.sub(_mixed, _REPEATING.sub(_repeating, text))
    tokens, place = [], 0
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            if text[place:].strip():
                return None
            break
        tokens.append(found[0].strip())
        place = found.end()
    parser = _Parser(tokens)
    try:
        value = parser.sum()
    except (_NotExactError, RecursionError, ZeroDivisionError, OverflowError):
        return None
    return value if parser.place == len(tokens) else None


def read_digits(text: str) -> Fraction:
    """The value of digits, optionally in groups of three, with a decimal mark and an exponent."""
    if re.fullmatch(r"\d{1,3}(?:\.\d{3})+,\d+|\d{1,3}(?:\.\d{3}){2,}|\d{1,3}(?: \d{3})+,\d+", text):
        text = text.replace(".", "").replace(",", ".")
    digits = re.sub(r"[, ']", "", text)
    _, _, power = digits.lower().partition("e")
    if len(digits) > _LONGEST or len(power) > 6 or (power and abs(int(power)) * 3.33 > _MOST_BITS):
        raise _NotExactError
    return Fraction(digits.removesuffix("."))


def _repeating(found: re.Match[str]) -> str:
    """0.1\\overline{6} is (1/10 + 6/90)."""
    whole, once, again = found.groups()
    below = 10 ** len(once)
    return f"({whole or 0}+{once or 0}/{below}+{again}/{below * (10 ** len(again) - 1)})"


def _mixed(found: re.Match[str]) -> str:
    whole, top, bottom = found[1], found[2] or found[4], found[3] or found[5]
    if int(top) >= int(bottom):  # 2 3/2 is not a mixed number
        return f"{whole} {top}/{bottom}" if found[4] else f"{whole}*({top}/{bottom})"
    return f"({whole}+{top}/{bottom})"


class _Parser:
    """Recursive-descent parser for tokens. Every method returns an exact value or raises `_NotExactError`."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens, self.place = tokens, 0

    def peek(self) -> str:
        return self.tokens[self.place] if self.place < len(self.tokens) else ""

    def take(self, wanted: str | None = None) -> str:
        token = self.peek()
        if not token or (wanted is not None and token != wanted):
            raise _NotExactError
        self.place += 1
        return token

    def sum(self) -> Fraction:
        value = self.product()
        while self.peek() in ("+", "-"):
            value = value + self.product() if self.take() == "+" else value - self.product()
        return value

    def product(self) -> Fraction:
        value = self.signed()
        while True:
            token = self.peek()
            if token in ("*", r"\cdot", r"\times"):
                self.take()
                value *= self.signed()
            elif token in ("/", r"\div"):
                self.take()
                value /= self.signed()
            elif token in ("(", r"\frac", r"\sqrt", r"\binom"):
                value *= self.power()
            else:
                return value

    def signed(self) -> Fraction:
        if self.peek() in ("+", "-"):
            return self.signed() if self.take() == "+" else -self.signed()
        return self.power()

    def power(self) -> Fraction:
        base = self.postfix()
        if self.peek() != "^":
            return base
        self.take()
        exponent = self.exponent()
        if exponent.denominator != 1:
            return _root(_power(base, abs(exponent.numerator)), exponent.denominator) ** (1 if exponent > 0 else -1)
        return _power(base, exponent.numerator)

    def exponent(self) -> Fraction:
        if self.peek() == "{":
            return self.group("{", "}")
        if self.peek() in ("+", "-"):
            return self.exponent() if self.take() == "+" else -self.exponent()
        return self.power()

    def postfix(self) -> Fraction:
        value = self.atom()
        while self.peek() == "!":
            self.take()
            if value.denominator != 1 or not 0 <= value <= 5000:
                raise _NotExactError
            value = Fraction(math.factorial(int(value)))
        return value

    def atom(self) -> Fraction:
        token = self.take()
        if token[0].isdigit() or token[0] == ".":
            return read_digits(token)
        if token in ("(", "{", "|"):
            self.place -= 1
            value = self.group(token, {"(": ")", "{": "}", "|": "|"}[token])
            return abs(value) if token == "|" else value
        if token == r"\frac":
            return self.group("{", "}") / self.group("{", "}")
        if token == r"\binom":
            above, below = self.group("{", "}"), self.group("{", "}")
            if above.denominator != 1 or below.denominator != 1 or not 0 <= below <= above <= 5000:
                raise _NotExactError
            return Fraction(math.comb(int(above), int(below)))
        if token == r"\sqrt":
            degree = self.group("[", "]") if self.peek() == "[" else Fraction(2)
            if degree.denominator != 1 or not 1 <= degree <= 100:
                raise _NotExactError
            return _root(self.group("{", "}"), int(degree))
        raise _NotExactError

    def group(self, opened: str, closed: str) -> Fraction:
        self.take(opened)
        value = self.sum()
        self.take(closed)
        return value


def _power(base: Fraction, exponent: int) -> Fraction:
    bits = max(base.numerator.bit_length(), base.denominator.bit_length()) * abs(exponent)
    if bits > _MOST_BITS and abs(base) not in (0, 1):
        raise _NotExactError
    return base**exponent


def _root(value: Fraction, degree: int) -> Fraction:
    """The real root, if it is rational. Raises `_NotExactError` otherwise."""
    if degree > 100:
        raise _NotExactError
    if value < 0:
        if degree % 2 == 0:
            raise _NotExactError
        return -_root(-value, degree)
    return Fraction(_whole_root(value.numerator, degree), _whole_root(value.denominator, degree))


def _whole_root(value: int, degree: int) -> int:
    if value < 2:
        return value
    low, high = 1, 1 << (value.bit_length() // degree + 1)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**degree <= value else (low, middle - 1)
    if low**degree != value:
        raise _NotExactError
    return low
