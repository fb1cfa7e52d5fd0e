r"""Interpret an answer: `read_answer` turns each text into one of the forms in `rewards.grading.forms`.

Equal answers in the same notation have equal forms. Anything that needs algebra becomes a `Formula`, which
`rewards.symbolic` compares.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache

from rewards.grading.arithmetic import exact_number
from rewards.grading.forms import NO_UNIT, Choice, Formula, Named, Quantity, Reading, Several, Words
from rewards.grading.notation import NEW_ROW, notation
from rewards.grading.numerals import PARTS
from rewards.grading.quantities import (
    is_formula,
    plain_number,
    read_compound,
    read_quantity,
    read_spans,
    whole_quantity,
)
from rewards.grading.ranges import NAME, interval, read_bound, read_inequalities
from rewards.grading.times import read_clock, read_date

_CHOICE = re.compile(
    r"(?:(?:option|choice|answer|letter)\s*)?\(\s*([A-Ja-j])\s*\)\s*(.*)|(?:(?:option|choice|letter)\s+)([A-Ja-j])[.:)]?\s*(.*)"
    r"|([A-J])|([A-J])[).:]\s*(.+)|([a-df-hj])\)?"
)
_EMPTY = re.compile(
    r"\\emptyset|\\\{\s*\\\}|\{\s*\}|(?:there (?:is|are) )?no (?:real )?solutions?|(?:the )?empty set", re.IGNORECASE
)
_REALS = re.compile(
    r"(?:[a-z]\s*\\in\s*)?(?:\\mathbb\s*\{?\s*R\s*\}?|\(-\\infty\s*,\s*\\infty\s*\))|all real numbers?|all reals",
    re.IGNORECASE,
)
_MEANS_MORE = re.compile(
    r"(?:or|and)\s+(?:less|more|fewer|greater|above|below|over|under|higher|lower|later|earlier|not|so|a half|one half"
    r"|older|younger)\b",
    re.IGNORECASE,
)
_SEPARATOR = re.compile(
    r"\s*(?:[;&]|,?\s+(?:and|or)\s+|(?<=[\d)\]}])\s*(?:and|or)\s+|,\s*(?:and|or)\s+)\s*", re.IGNORECASE
)
_LONGEST = 2_000


@lru_cache(maxsize=8192)
def read_answer(text: str) -> Reading:
    """The form of an answer. Never raises: anything that is not understood becomes words or a formula."""
    number = plain_number(text)
    if number is not None:
        return number
    plain = notation(text)
    if len(plain) > _LONGEST:
        return Words((plain,))
    try:
        return _read(plain)
    except RecursionError:
        return Words((plain,))


def _read(text: str) -> Reading:
    text = text.strip()
    readers: tuple[Callable[[str], Reading | None], ...] = (
        _special,
        _matrix,
        read_date,
        read_clock,
        read_spans,
        whole_quantity,
        _choice,
        _relation,
        _several,
        _ratio,
    )
    for read in readers:
        found = read(text)
        if found is not None:
            return found
    return _words_or_formula(text)


def _special(text: str) -> Reading | None:
    if _EMPTY.fullmatch(text):
        return Several("list", ())
    if _REALS.fullmatch(text):
        return interval("()", "-\\infty", "\\infty", _read)
    if text.casefold() in PARTS:
        return Quantity(PARTS[text.casefold()], NO_UNIT, PARTS[text.casefold()])
    builder = re.fullmatch(
        r"\\\{\s*[A-Za-z]\s*(?:\\in\s*\\mathbb\s*\{?R\}?\s*)?(?::|\\mid|\\colon|\|)\s*(.+?)\s*\\\}", text
    )
    if builder:
        return _read(builder[1])
    pair = re.fullmatch(r"\(\s*[A-Za-z](?:\s*,\s*[A-Za-z])+\s*\)\s*=\s*(\(.+\))", text)
    if pair:
        return _read(pair[1])
    yes_no = re.match(r"(yes|no|true|false)(?:[,.;:]\s.*|$)", text, re.IGNORECASE)
    return Words((yes_no[1].casefold(),)) if yes_no else None


def _matrix(text: str) -> Reading | None:
    found = re.fullmatch(r"\\begin\{([pbB]?matrix|array)\}(?:\{[clr|]*\})?(.*)\\end\{\1\}", text)
    if found is None:
        return None
    rows = [row for row in found[2].split(NEW_ROW) if row.strip()]
    return Several("matrix", tuple(Several("tuple", tuple(_read(cell) for cell in row.split("&"))) for row in rows))


def _choice(text: str) -> Reading | None:
    found = _CHOICE.fullmatch(text)
    if found is None:
        return None
    letter = found[1] or found[3] or found[5] or found[6] or found[8]
    content = (found[2] or found[4] or found[7] or "").strip(" .:,-")
    if content and re.match(r"[-+*/^=<>,;]|\\(?:cdot|times|cup|le|ge)|(?:and|or)\b", content):
        return None
    return Choice(letter.upper(), _read(content) if content else None)


def _relation(text: str) -> Reading | None:
    """`x \\in S`, `x = 5`, a chain of equations, and inequalities of one variable, which become intervals."""
    member = re.fullmatch(r"[A-Za-z](?:_\{?\w+\}?)?\s*\\in\s*(.+)", text)
    if member:
        return _read(member[1])
    spoken = re.fullmatch(
        r"(at most|no more than|at least|no less than|no fewer than|less than|fewer than|more than|greater than) (.+)",
        text,
        re.IGNORECASE,
    )
    trailing = re.fullmatch(r"(.+?),? or (less|fewer|more|greater)(?: than that)?( [A-Za-z]+)?", text, re.IGNORECASE)
    bound = None
    if spoken:
        bound = read_bound(spoken[1], spoken[2])
    elif trailing:
        words = "at most" if trailing[2].casefold() in ("less", "fewer") else "at least"
        bound = read_bound(words, trailing[1] + (trailing[3] or ""))
    if bound is not None:
        return bound
    if re.search(r"<|>|\\le(?![a-z])|\\ge(?![a-z])|\\ne(?![a-z])", text):
        return read_inequalities(text, _read)
    if has_comma(text) or _SEPARATOR.search(text) or "=" not in text:
        return None
    sides = [side.strip() for side in text.split("=")]
    if any(not side for side in sides):
        return None
    name = sides[0]
    if len(sides) == 2 and NAME.fullmatch(sides[1]) and not NAME.fullmatch(name) and exact_number(name) is not None:
        sides, name = [sides[1], name], sides[1]
    if NAME.fullmatch(name) and name.lstrip("\\") not in ("pi", "e", "i"):
        name = re.sub(r"^[a-zA-Z]\s*\(\s*[a-z]\s*\)$", "y", name)
        return Named(name, _read(sides[-1]))
    values = [whole_quantity(side) for side in sides]
    if all(value is not None for value in values):
        return values[-1]
    if len(sides) > 2:
        return _read(sides[-1])
    return None


def has_comma(text: str) -> bool:
    return len(split_list(text, inside=False)) > 1


def split_list(text: str, inside: bool) -> list[str]:
    """Split at commas and semicolons outside brackets; with `inside` (a bracket), 1,234 is two numbers."""
    depth, parts, start = 0, [], 0
    spaced = ", " in text
    for place, sign in enumerate(text):
        depth += (sign in "([{") - (sign in ")]}")
        if sign in ",;" and depth <= 0:
            digits = re.search(r"(?<![\d,.])\d{1,3}(?:,\d{3})*$", text[:place])
            grouped = re.match(r",\d{3}(?!\d)", text[place:])
            if sign == "," and digits and grouped and (spaced or not inside):
                continue
            parts.append(text[start:place])
            start = place + 1
    parts.append(text[start:])
    return [part.strip() for part in parts]


def _several(text: str) -> Reading | None:
    if r"\pm" in text:
        return _both_signs(text)
    union = re.split(r"\s*\\cup\s*", text)
    if len(union) > 1:
        sets = [found for part in union if isinstance(found := _several(part), Several)]
        return Several("union", tuple(sets)) if len(sets) == len(union) else None
    enclosed = _enclosed(text)
    if enclosed is not None:
        return enclosed
    if _MEANS_MORE.search(text):
        return None
    text = re.sub(r"^(?:either|both)\s+", "", text, flags=re.IGNORECASE)
    parts = [part for comma in split_list(text, inside=False) for part in _SEPARATOR.split(comma)]
    parts = [re.sub(r"^(?:and|or)\s+", "", part.strip()) for part in parts]
    if len(parts) < 2:
        return None
    if any(not part for part in parts) or (not all(_list_item(part) for part in parts)):
        return None
    compound = read_compound(parts)
    if compound is not None:
        return compound
    items = [_read(part) for part in parts]
    if isinstance(items[0], Named) and not any(isinstance(item, Named) for item in items[1:]):
        name = items[0].name
        return Named(name, Several("list", (items[0].value, *items[1:])))
    names = {item.name for item in items if isinstance(item, Named)}
    if len(names) == 1 and all(isinstance(item, Named) for item in items):
        return Named(names.pop(), Several("list", tuple(item.value for item in items if isinstance(item, Named))))
    return Several("list", tuple(items))


def _list_item(part: str) -> bool:
    """Whether a part of a list can be an answer by itself: it has a digit or a sign, or at most four words."""
    return bool(re.search(r"[\d\\^+*/-]", part)) or len(part.split()) <= 4


def _both_signs(text: str) -> Reading | None:
    if text.count(r"\pm") != 1 or has_comma(text):
        return None
    return (
        _read(
            re.sub(r"\s*\\pm\s*", " + ", text).strip().removeprefix("+ ")
            + " , "
            + re.sub(r"\s*\\pm\s*", " - ", text).strip()
        )
        if "=" not in text
        else _named_signs(text)
    )


def _named_signs(text: str) -> Reading | None:
    name, _, value = text.partition("=")
    found = _both_signs(value.strip()) if NAME.fullmatch(name.strip()) else None
    return None if found is None else Named(name.strip(), found)


def _enclosed(text: str) -> Reading | None:
    """A set, tuple or interval in brackets that close at the very end."""
    opened = "\\{" if text.startswith("\\{") else text[:1]
    if opened not in ("(", "[", "\\{", "{", "\\langle"):
        return None
    closed = "\\}" if text.endswith("\\}") else text[-1:]
    if closed not in (")", "]", "\\}", "}"):
        return None
    inner = text[len(opened) : -len(closed)]
    depth = 0
    for sign in inner:
        depth += (sign in "([{") - (sign in ")]}")
        if depth < 0:
            return None
    if depth:
        return None
    parts = split_list(inner, inside=True)
    if opened in ("\\{", "{"):
        if opened == "{" and len(parts) < 2:
            return None
        return Several("list", tuple(_read(part) for part in parts)) if all(parts) else None
    if len(parts) < 2:
        return (
            _read(inner) if opened + closed == "()" and inner.strip() and not re.search(r"[A-Za-z]{2}", inner) else None
        )
    return Several("tuple", tuple(_read(part) for part in parts), opened + closed) if all(parts) else None


def _ratio(text: str) -> Reading | None:
    if ":" not in text and " to " not in text:
        return None
    numbers = [exact_number(part.strip()) for part in re.split(r"\s*:\s*|\s+to\s+", text)]
    if any(number is None for number in numbers):
        return None
    exact = [number for number in numbers if number is not None]
    if len(exact) == 2 and exact[1]:
        return Quantity(exact[0] / exact[1], NO_UNIT, exact[0] / exact[1])
    whole = next((number for number in exact if number), None)
    if whole is None:
        return None
    return Several("tuple", tuple(Quantity(number / whole) for number in exact), "::")


def _words_or_formula(text: str) -> Reading:
    quantity = read_quantity(text)
    if quantity is not None:
        return quantity
    return Quantity(Formula(text)) if is_formula(text) else Words(_tokens(text))


def _tokens(text: str) -> tuple[str | Fraction, ...]:
    found: list[str | Fraction] = []
    for token in re.findall(r"[-+]?\d[\d,.]*\d|\d|[^\W\d_]+|[^\w\s.,;:!?'\"()-]", text.casefold()):
        if token in ("a", "an", "the"):
            continue
        number = exact_number(token)
        found.append(number if number is not None else token)
    return tuple(found) or (text.casefold(),)
