"""Parse JSON and refuse values that would break something later, with the reason.

Besides violations of JSON's grammar, these are refused: a lone surrogate (half an emoji, which UTF-8 cannot encode), an
integer that Python refuses to convert, a number beyond a float's range (and `Infinity`), a key that occurs twice in one
object, and nesting that would exhaust the stack. `NaN` is accepted: published rows use it for unknown values.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

MOST_LEVELS = 100
"""Levels of lists and objects in a row. Published rows have at most six; the stack allows a few hundred."""

TOO_DEEP = f"nested more than {MOST_LEVELS} levels deep"
SURROGATE = re.compile(r"[\ud800-\udfff]")
_TOO_LONG, _TOO_LARGE = object(), object()
_SHOWN_KEY = 40


class _Twice(dict[str, Any]):
    """An object with a key that is given twice."""

    key = ""


def json_value(text: str) -> Any:
    """Parse a JSON text. Raises ValueError, with the reason in a few words, if the value cannot be used."""
    try:
        value = DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"not valid JSON ({error.msg})") from error
    except RecursionError as error:
        raise ValueError(TOO_DEEP) from error
    check_value(value)
    return value


def check_value(value: Any) -> None:
    """Raise ValueError, naming the field, for a value that would break something later."""
    if type(value) is _Twice:
        raise ValueError(f"the key {value.key[:_SHOWN_KEY]!r} is given twice")
    fields = value.items() if isinstance(value, dict) else [("", value)]
    for name, content in fields:
        place = f"{name[:_SHOWN_KEY]}: " if name and not SURROGATE.search(name) else ""
        _check(name, place)
        _check(content, place)


def _check(value: Any, place: str) -> None:
    level, values = 0, [value]
    while values:
        level += 1
        if level > MOST_LEVELS:
            raise ValueError(f"{place}{TOO_DEEP}")
        inner: list[Any] = []
        for one in values:
            if isinstance(one, str):
                if found := SURROGATE.search(one):
                    raise ValueError(f"{place}half a character (\\u{ord(found[0]):04x}, a cut emoji) in a text")
            elif isinstance(one, list):
                inner += one
            elif isinstance(one, dict):
                if type(one) is _Twice:
                    raise ValueError(f"{place}the key {one.key[:_SHOWN_KEY]!r} is given twice")
                inner += one
                inner += one.values()
            elif one is _TOO_LONG:
                raise ValueError(f"{place}an integer has too many digits")
            elif one is _TOO_LARGE:
                raise ValueError(f"{place}a number is too large")
        values = inner


def _integer(digits: str) -> Any:
    """The integer; a marker if it has more digits than Python converts (sys.set_int_max_str_digits)."""
    try:
        return int(digits)
    except ValueError:
        return _TOO_LONG


def _float(digits: str) -> Any:
    """The number; a marker if it is beyond a float's range, such as 1e999."""
    value = float(digits)
    return _TOO_LARGE if math.isinf(value) else value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object; if a key occurs twice it is marked, since a reader could not know which of the two is meant."""
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    names = [name for name, _ in pairs]
    twice = _Twice(found)
    twice.key = next(name for place, name in enumerate(names) if name in names[:place])
    return twice


def _constant(name: str) -> Any:
    return math.nan if name == "NaN" else _TOO_LARGE


DECODER = json.JSONDecoder(parse_int=_integer, parse_float=_float, parse_constant=_constant, object_pairs_hook=_object)
