"""Units of measure, currencies and number words that may follow or precede the number in an answer.

A unit is a name and a factor. Units of the same quantity are converted exactly (180 minutes are 3 hours); a word that
is not in the table (apples) becomes a separate unit, in the singular.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from rewards.grading.vocabulary import QUALIFIERS

SCALES = {
    "hundred": 10**2,
    "thousand": 10**3,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
    "dozen": 12,
    "mln": 10**6,
    "bn": 10**9,
}

CURRENCIES = {
    "¤": "dollar",
    "US¤": "dollar",
    "USD": "dollar",
    "£": "pound",
    "GBP": "pound",
    "€": "euro",
    "EUR": "euro",
    "¥": "yen",
    "JPY": "yen",
    "₹": "rupee",
    "INR": "rupee",
    "Rs": "rupee",
    "₽": "ruble",
    "₩": "won",
    "CHF": "franc",
    "CNY": "yuan",
}


@dataclass(frozen=True)
class Unit:
    """A unit: `name` is the base unit, and the unit is `factor` base units."""

    name: str
    factor: Fraction = Fraction(1)


_TABLE: dict[str, Unit] = {}


def _add(base: str, *entries: tuple[str, int | str | Fraction]) -> None:
    for names, factor in entries:
        for name in names.split():
            _TABLE[name] = Unit(base, Fraction(factor))


_add(
    "meter",
    ("m meter metre", 1),
    ("km kilometer kilometre", 1000),
    ("dm decimeter decimetre", "0.1"),
    ("cm centimeter centimetre", "0.01"),
    ("mm millimeter millimetre", "0.001"),
    ("µm micrometer micrometre micron", "0.000001"),
    ("nm nanometer nanometre", "0.000000001"),
)
_add("foot", ("foot feet ft", 1), ("inch inches in", Fraction(1, 12)), ("yard yd", 3), ("mile mi", 5280))
_add("gram", ("g gram gramme", 1), ("kg kilogram kilo", 1000), ("mg milligram", "0.001"), ("t tonne", 1000000))
_add("pound", ("pound lb lbs", 1), ("ounce oz", Fraction(1, 16)))
_add(
    "second",
    ("s sec second", 1),
    ("ms millisecond", "0.001"),
    ("min mins minute", 60),
    ("h hr hrs hour", 3600),
    ("day", 86400),
    ("week", 604800),
)
_add("month", ("month", 1), ("year yr yrs", 12), ("decade", 120), ("century centuries", 1200))
_add("liter", ("L l liter litre", 1), ("mL ml milliliter millilitre", "0.001"), ("cL centiliter centilitre", "0.01"))
_add("gallon", ("gallon gal", 1), ("quart qt", Fraction(1, 4)), ("pint pt", Fraction(1, 8)), ("cup", Fraction(1, 16)))
_add("dollar", ("dollar USD buck", 1), ("cent", "0.01"))
_add("euro", ("euro EUR", 1))
_add("degree", ("degree deg", 1))
_add("degree C", ("celsius", 1))
_add("degree F", ("fahrenheit", 1))
_add("radian", ("radian rad", 1))
_add("byte", ("byte B", 1), ("kB KB kilobyte", 1000), ("MB megabyte", 10**6), ("GB gigabyte", 10**9))
_add("watt", ("W watt", 1), ("kW kilowatt", 1000), ("MW megawatt", 10**6))
_add("joule", ("J joule", 1), ("kJ kilojoule", 1000))
_add("newton", ("N newton", 1), ("kN kilonewton", 1000))
_add("volt", ("V volt", 1), ("mV millivolt", "0.001"), ("kV kilovolt", 1000))
_add("hertz", ("Hz hertz", 1), ("kHz kilohertz", 1000), ("MHz megahertz", 10**6))
_add("pascal", ("Pa pascal", 1), ("kPa kilopascal", 1000))
_add("kelvin", ("K kelvin", 1))
_add("mole", ("mol mole", 1))

_SPEEDS = {"mph": "mile/hour", "kph": "km/hour", "kmh": "km/hour", "fps": "foot/second"}
_TRAILING = re.compile(
    r"(?:,?\s+(?:in total|in all|altogether|total|left over|left|remaining|overall|each|respectively|exactly"
    r"|approximately|or so))+$",
    re.IGNORECASE,
)


def find_unit(words: str) -> Unit | None:
    """The unit named by the words after a number; None if they are not a unit but change its meaning."""
    words = _TRAILING.sub("", " " + words.strip(" .,")).strip()
    if not words:
        return Unit("")
    if words in ("%", "percent", "per cent", "pct", "percentage points"):
        return Unit("%")
    tidy = re.sub(r"\s*\^\s*", "^", re.sub(r"\^\{(-?\d+)\}", r"^\1", words))
    tidy = re.sub(r"\s*\\cdot\s*|\s*\*\s*", "*", tidy)
    tidy = re.sub(r"(?:^|\s+)per\s+|\s*/\s*", "/", tidy)
    tidy = _SPEEDS.get(tidy.casefold().replace(".", ""), tidy)
    if "/" not in tidy:
        return _product(tidy)
    above, _, below = tidy.partition("/")
    top = _product(above) if above.strip() else Unit("")
    bottom = _product(below) if below.strip() else None
    if top is None or bottom is None or "/" in below:
        return None
    return Unit(f"{top.name}/{bottom.name}", top.factor / bottom.factor)


def _product(words: str) -> Unit | None:
    factors = [_power(part) for part in words.split("*")]
    if any(one is None for one in factors):
        return None
    known = [one for one in factors if one is not None]
    factor = Fraction(1)
    for one in known:
        factor *= one.factor
    return Unit("*".join(sorted(one.name for one in known)), factor)


def _power(words: str) -> Unit | None:
    """`cm^2`, `square cm`, `sq. cm`, `cubic feet`, `degrees Celsius`, `apples`."""
    words = words.strip(" .{}")
    named = re.fullmatch(r"(?:(square|sq\.?|cubic|cu\.?)\s+)(.+)", words, re.IGNORECASE)
    raised = re.fullmatch(r"(.+?)(?:\^(-?\d)|\s+(squared|cubed))", words, re.IGNORECASE)
    if named or raised:
        inner = named[2] if named else raised[1]  # type: ignore[index]  # one of the two matched
        if named:
            power = 2 if named[1].casefold().startswith("s") else 3
        else:
            assert raised is not None
            power = int(raised[2]) if raised[2] else {"s": 2, "c": 3}[raised[3][0].casefold()]
        unit = _single(inner)
        return None if unit is None else Unit(f"{unit.name}^{power}", unit.factor**power)
    return _single(words)


def _single(words: str) -> Unit | None:
    words = words.strip(" .")
    kind = re.fullmatch(r"(?:degrees?)\s*(C|F|celsius|fahrenheit)?", words, re.IGNORECASE)
    if kind:
        return Unit("degree" + (f" {kind[1][0].upper()}" if kind[1] else ""))
    for name in (words, words.casefold(), _singular(words.casefold())):
        if name in _TABLE and (len(words) > 2 or words == name or words.casefold() in ("hr", "yr", "lb", "oz", "ft")):
            return _TABLE[name]
    for sign, currency in CURRENCIES.items():
        if words == sign:
            return Unit(currency)
    if not re.fullmatch(r"[^\W\d_]+(?:[' -]+[^\W\d_]+)*", words):
        return None
    parts = [
        part
        for part in re.split(r"[\s-]+", words.casefold())
        if part not in ("the", "a", "an", "of", "in", "different")
    ]
    if not parts or any(part in QUALIFIERS or part in SCALES for part in parts) or len(parts) > 5:
        return None
    if all(len(part) < 3 for part in parts):
        return None
    return Unit(" ".join(_singular(part) for part in parts))


def _singular(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and re.search(r"(?:ch|sh|x|ss)es$", word):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
