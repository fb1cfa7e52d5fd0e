"""The JSON values of a file, each with the line it stands on; what is no value that can be used comes with the reason.

A file is JSONL, or one JSON list. Beyond JSON's grammar a value must be fit for everything after it: no half of a
character pair (a cut emoji, which no UTF-8 file can hold), no integer that Python refuses to convert, no nesting that
exhausts the stack.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHOWN_CHARACTERS = 2000
MOST_LEVELS = 100
"""Levels of lists and objects in a row: published rows have six at most; the stack has some hundreds."""

_SURROGATE = re.compile(r"[\ud800-\udfff]")
_TOO_LONG = object()


@dataclass(frozen=True)
class Line:
    """A value and its line; or the `fault` for which it cannot be used, and the beginning of its text as `value`."""

    number: int
    value: Any
    fault: str | None = None


def lines_of(path: Path) -> Iterator[Line]:
    """Every value of a JSONL file, or of a file that holds one JSON list. Raises OSError only."""
    with path.open("rb") as file:
        first = file.read(1)
        while first.isspace():
            first = file.read(1)
        file.seek(0)
        if first == b"[":
            # Bytes that are not UTF-8 become lone surrogates, which condemn the item they stand in and no other.
            yield from _listed(file.read().decode("utf-8", errors="surrogateescape"))
            return
        for number, raw in enumerate(file, start=1):
            if raw.strip():
                yield _line(number, raw)


def json_value(text: str) -> Any:
    """The JSON value that a text holds. Raises ValueError, with the reason in a few words, where it cannot be used."""
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"not valid JSON ({error.msg})") from error
    except RecursionError as error:
        raise ValueError(f"nested more than {MOST_LEVELS} levels deep") from error
    check_value(value)
    return value


def check_value(value: Any) -> None:
    """Raise ValueError for what would break whatever comes after the reader, naming the field it stands in."""
    fields = value.items() if isinstance(value, dict) else [("", value)]
    for name, content in fields:
        place = f"{name}: " if name and not _SURROGATE.search(name) else ""
        _check(name, place)
        _check(content, place)


def _check(value: Any, place: str) -> None:
    level, values = 0, [value]
    while values:
        level += 1
        if level > MOST_LEVELS:
            raise ValueError(f"{place}nested more than {MOST_LEVELS} levels deep")
        inner: list[Any] = []
        for one in values:
            if isinstance(one, str):
                if found := _SURROGATE.search(one):
                    raise ValueError(f"{place}half a character (\\u{ord(found[0]):04x}, a cut emoji) in a text")
            elif isinstance(one, list):
                inner += one
            elif isinstance(one, dict):
                inner += one
                inner += one.values()
            elif one is _TOO_LONG:
                raise ValueError(f"{place}an integer has too many digits")
        values = inner


def _integer(digits: str) -> Any:
    """The integer; a mark where it has more digits than Python converts (sys.set_int_max_str_digits)."""
    try:
        return int(digits)
    except ValueError:
        return _TOO_LONG


_DECODER = json.JSONDecoder(parse_int=_integer)


def _line(number: int, raw: bytes) -> Line:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return Line(number, repr(raw[:SHOWN_CHARACTERS]), "not valid UTF-8")
    try:
        return Line(number, json_value(text))
    except ValueError as error:
        return Line(number, text[:SHOWN_CHARACTERS].rstrip("\n"), str(error))


def _listed(text: str) -> Iterator[Line]:
    """The items of one JSON list, each with its line. What follows an item that is no JSON is lost, and said so."""
    place, line, counted = text.index("[") + 1, 1, 0
    while True:
        while place < len(text) and (text[place].isspace() or text[place] == ","):
            place += 1
        line, counted = line + text.count("\n", counted, place), place
        if place >= len(text) or text[place] == "]":
            return
        shown = text[place : place + SHOWN_CHARACTERS]
        try:
            item, end = _DECODER.raw_decode(text, place)
        except (json.JSONDecodeError, RecursionError) as error:
            why = error.msg if isinstance(error, json.JSONDecodeError) else f"more than {MOST_LEVELS} levels"
            yield Line(line, shown, f"not valid JSON from here on ({why}): the rest of the file is left out")
            return
        try:
            if _SURROGATE.search(text, place, end):
                raise ValueError("not valid UTF-8")
            check_value(item)
            yield Line(line, item)
        except ValueError as error:
            yield Line(line, shown[: end - place], str(error))
        place = end
