"""Read numbers with their sign, currency, scale ("million"), base and unit, and compounds such as 7 feet 4 inches."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

from rewards.grading.arithmetic import exact_number
from rewards.grading.forms import NO_UNIT, Formula, Quantity
from rewards.grading.numerals import read_number_words
from rewards.grading.units import CURRENCIES, SCALES, Unit, find_unit
from rewards.grading.vocabulary import FUNCTIONS

_BASE = re.compile(r"\(?([0-9A-Za-z]+)\)?\s*_\{?\s*(\d+)\s*\}?|([0-9A-Fa-f]+)\s*\(?(?:in )?base (\d+)\)?")
_PLAIN = re.compile(r"(-?)(\$?)([0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,100})(\.[0-9]{1,100})?(?: ([a-z]{3,20}))?\.?")
_MONTHS = frozenset(("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"))
_find_unit = lru_cache(maxsize=4096)(find_unit)
_LEADING_SIGN = re.compile(r"(?:minus|negative)\s+", re.IGNORECASE)
_CURRENCY = "|".join(re.escape(sign) for sign in sorted(CURRENCIES, key=len, reverse=True))
_MONEY = re.compile(rf"([-+]?)\s*({_CURRENCY})\s*([-+]?)\s*(?=[\d.(\\])(.*)")
_MONEY_AFTER = re.compile(rf"(.*?[\d)}}])\s*({_CURRENCY})")
_SCALED = re.compile(rf"(.*?[\d)}}])\s*-?({'|'.join(SCALES)})s?\b\.?\s*(.*)", re.IGNORECASE)
_BODY = re.compile(
    r"(.*[\d)}!|]|.*\\(?:pi|infty)|.*(?<![A-Za-z])[a-zπ](?=\s))\s*((?:(?<=\s)|(?<![A-Za-z]))[A-Za-zµ%].*)", re.DOTALL
)


def plain_number(text: str) -> Quantity | None:
    """A fast path of `read_quantity` for plain digits, optionally with a dollar sign or one word: most answers.

    None for anything else.
    """
    found = _PLAIN.fullmatch(text)
    if found is None:
        return None
    sign, dollar, digits, places, word = found.groups()
    unit = Unit("dollar") if dollar else NO_UNIT
    if word:
        named = None if dollar or word[:3] in _MONTHS else _find_unit(word)
        if named is None or named.name == "%":
            return None
        unit = named
    number = Fraction(f"{sign}{digits.replace(',', '')}{places or ''}")
    return Quantity(number * unit.factor, Unit(unit.name), number)


def whole_quantity(text: str) -> Quantity | None:
    """An exact number with its sign, currency, scale and unit; None for anything else."""
    found = read_quantity(text)
    return found if found is not None and isinstance(found.value, Fraction) else None


def read_quantity(text: str) -> Quantity | None:
    """A number or formula with its sign, currency, scale and unit; None if `text` is not one."""
    sign = 1
    spoken = _LEADING_SIGN.match(text)
    if spoken:
        sign, text = -1, text[spoken.end() :]
    money, unit = _MONEY.fullmatch(text), NO_UNIT
    if money:
        text = f"{'-' if '-' in (money[1], money[3]) else ''}{money[4]}"
        unit = Unit(CURRENCIES[money[2]])
    elif after := _MONEY_AFTER.fullmatch(text):
        text, unit = after[1], Unit(CURRENCIES[after[2]])
    based = _BASE.fullmatch(text)
    if based and unit == NO_UNIT:
        return _based(based[1] or based[3], int(based[2] or based[4]), sign)
    number = exact_number(text)
    if number is not None:
        return Quantity(sign * number, unit, sign * number)
    text, scale = _scaled(text)
    number = exact_number(text)
    if number is not None:
        return Quantity(sign * scale * number, unit, sign * scale * number)
    body, words = _split_unit(text)
    if words or scale != 1:
        named = find_unit(words)
        if named is None:
            return None
        if unit == NO_UNIT:
            unit = named
        elif words.startswith(("per ", "/")):
            unit = Unit(f"{unit.name}{named.name}", named.factor)
        elif named.name not in ("", unit.name):
            return None
        number = exact_number(body)
        if number is not None:
            number *= sign * scale
            return Quantity(number / 100 if unit.name == "%" else number * unit.factor, Unit(unit.name), number)
        if scale == 1 and sign == 1 and is_formula(body):
            factor = unit.factor if unit.name != "%" else Fraction(1, 100)
            return Quantity(_times(body, factor), Unit(unit.name), Formula(body))
        return None
    return None if unit == NO_UNIT or not is_formula(text) else Quantity(Formula(text), unit, Formula(text))


def _times(body: str, factor: Fraction) -> Formula:
    if factor == 1:
        return Formula(body)
    return Formula(rf"\frac{{{factor.numerator}}}{{{factor.denominator}}}\cdot({body})")


def _scaled(text: str) -> tuple[str, int]:
    """Separate a scale in words: `5 million dollars` becomes `5 dollars` and 1000000."""
    spelled = read_number_words(text)
    if spelled is not None and (not spelled[1] or spelled[1][0].isspace()):
        number, rest = spelled
        text = f"{number.numerator} {rest.strip()}".strip()
    scale = 1
    while found := _SCALED.fullmatch(text):
        scale *= SCALES[found[2].casefold()]
        text = f"{found[1]} {found[3]}".strip()
    return text, scale


def _split_unit(text: str) -> tuple[str, str]:
    """Split `text` into the number or formula and the words after it."""
    if text.endswith("%"):
        return text[:-1].strip(), "%"
    lead = re.match(
        r"[-+]?\d[\d,.]*(?:\s\d+/\d+|\s*/\s*\d+|\s*\\frac\{\d+\}\{\d+\})?(?![\d,.^_!*+/\\(-])(?=\s|[A-Za-zµ])\s*", text
    )
    if lead:
        words, glued = text[lead.end() :], not text[lead.end() - 1].isspace()
        first = re.match(r"[A-Za-zµ]+", words)
        if first and glued and len(first[0]) == 1 and not re.match(r"/[a-z]", words[1:]):
            return text, ""  # 5m is a product
        if (
            first
            and (len(first[0]) > 1 or not glued)
            and (not glued or (find_unit(words) is not None and _is_known(words)))
        ):
            return text[: lead.end()].strip(), words
        return text, ""
    found = _BODY.fullmatch(text)
    if found and re.match(r"[A-Za-zµ]{3,}|.*", found[2]) and _is_known(found[2]) and found[1].rstrip() != "":
        return found[1].strip(), found[2]
    return text, ""


def _is_known(words: str) -> bool:
    """Whether the words are a unit in the table rather than any noun (a product of letters would pass as a noun)."""
    unit = find_unit(words)
    if unit is None:
        return False
    return unit.factor != 1 or bool(
        re.fullmatch(
            r"(?:meter|foot|gram|pound|second|month|liter|gallon|dollar|euro|degree(?: [CF])?"
            r"|radian|unit|%|[*/^0-9-])+",
            unit.name,
        )
        or re.search(r"\s|[a-z]{4,}", words)
    )


def _based(digits: str, base: int, sign: int) -> Quantity | None:
    try:
        value = Fraction(sign * int(digits, base)) if 2 <= base <= 36 else None
    except ValueError:
        return None
    if value is None:
        return None
    if base == 10:
        return Quantity(value, NO_UNIT, value)
    return Quantity(value, Unit("base"), Fraction(sign * int(digits)) if digits.isdigit() else None)


def read_spans(text: str) -> Quantity | None:
    return read_compound([text]) if re.search(r"[A-Za-z]\.?\s+\d", text) else None


def read_compound(parts: list[str]) -> Quantity | None:
    """`7 feet 4 inches`, `2 hours and 30 minutes`: one quantity in several units of a kind, largest first."""
    pieces = [piece for part in parts for piece in re.split(r"(?<=[A-Za-z.])\s+(?=\d)", part)]
    if len(pieces) < 2 or not all(re.match(r"[-+]?\d|¤", piece) for piece in pieces):
        return None
    if re.match(r"-", pieces[0]):
        return None
    found = [read_quantity(piece) for piece in pieces]
    sizes = []
    for piece, one in zip(pieces, found, strict=True):
        if one is None or not isinstance(one.value, Fraction) or not one.unit.name or one.unit.name in ("%", "base"):
            return None
        unit = find_unit(re.sub(r"^[-+]?[\d.,/ ]+", "", piece))
        sizes.append(unit.factor if unit is not None and unit.name else Fraction(1))
    if len({one.unit for one in found if one is not None}) != 1 or sorted(set(sizes), reverse=True) != sizes:
        return None
    total = sum((one.value for one in found if one is not None and isinstance(one.value, Fraction)), Fraction(0))
    return Quantity(total, found[0].unit if found[0] else NO_UNIT, None)


def is_formula(text: str) -> bool:
    """Whether this may be mathematics: it has no word of three or more letters that is not a function."""
    if not re.search(r"[\w\\]", text):
        return False
    bare = re.sub(r"\\[A-Za-z]+", " ", text)
    words = re.findall(r"[^\W\d_]{2,}", bare)
    if not text.isascii() and re.search(r"[^\x00-\x7f]", bare):
        return False
    if any(
        word.casefold() not in FUNCTIONS
        and (len(word) > 2 or word.casefold() in ("no", "or", "ok", "it", "an", "so", "am", "pm"))
        for word in words
    ):
        return bool(re.search(r"[\d^+*/=\\]", text)) and not re.search(r"[^\W\d_]{4,}|\s[^\W\d_]{2,}", bare)
    return True
