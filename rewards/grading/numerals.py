"""Numbers spelled out: forty-two, one hundred and five, half."""

from __future__ import annotations

import re
from fractions import Fraction

from rewards.grading.units import SCALES
from rewards.grading.vocabulary import ONES, TENS

PARTS = {
    **dict.fromkeys(("half", "a half", "one half", "one-half"), Fraction(1, 2)),
    **dict.fromkeys(("a third", "one third", "one-third"), Fraction(1, 3)),
    **dict.fromkeys(("two thirds", "two-thirds"), Fraction(2, 3)),
    **dict.fromkeys(("a quarter", "one quarter", "one-quarter", "one fourth", "one-fourth"), Fraction(1, 4)),
    **dict.fromkeys(("three quarters", "three-quarters", "three fourths", "three-fourths"), Fraction(3, 4)),
}


def read_number_words(text: str) -> tuple[Fraction, str] | None:
    """The number spelled out at the start of `text`, and the rest: `forty-two apples` gives 42 and `apples`."""
    words = re.findall(r"[A-Za-z]+|[^A-Za-z]+", text)
    total, current, used, end, free = 0, 0, False, 0, 100
    for place, word in enumerate(words):
        name = word.casefold()
        value = ONES.get(name, TENS.get(name))
        if value is not None and ((not value and used) or value >= free):
            return None
        if value is not None:
            current, free = current + value, (10 if value >= 20 else 0)
        elif used and name == "hundred" and 0 < current < 100:
            current, free = current * 100, 100
        elif used and name in SCALES and SCALES[name] >= 1000 and current:
            total, current, free = total + current * SCALES[name], 0, 100
        elif re.fullmatch(r"\s+|-", word) or (used and name == "and" and free == 100):
            continue
        else:
            break
        used, end = True, place + 1
    return (Fraction(total + current), "".join(words[end:])) if used else None
