"""Find JSON in what a model wrote: objects within prose, fenced blocks, and an object that was cut off."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

_FENCE = re.compile(r"```json\s*(.*?)\s*```", re.DOTALL | re.IGNORECASE)
_SPACE = re.compile(r"\s*")
_DECODER = json.JSONDecoder()


def objects(text: str) -> list[dict[str, Any]]:
    """The JSON objects in a text, in order, without those inside another one; up to one that is nested too deeply."""
    found = []
    place = text.find("{")
    while place >= 0:
        try:
            value, end = _value_at(text, place)
        except RecursionError:
            break
        if isinstance(value, dict):
            found.append(value)
        place = text.find("{", place + 1 if end is None else end)
    return found


def fenced_objects(text: str) -> list[dict[str, Any]]:
    """The JSON objects inside ```json blocks, in order."""
    return [found for block in _FENCE.findall(text) for found in objects(block)]


def members(text: str) -> Iterator[list[tuple[str, Any]]]:
    """The members of each JSON object in a text, in order; of an object that breaks off, the complete ones.

    Unlike `objects`, this shows a name that occurs twice, and an object cut at a token limit, without the value at the
    cut.
    """
    place = text.find("{")
    while place >= 0:
        try:
            found, end = _members_at(text, place)
        except RecursionError:
            return
        if found:
            yield found
        place = text.find("{", max(end, place + 1))


def number_of(value: Any) -> float | None:
    """A JSON number, or a number written as text, as a finite float; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def inside(found: Mapping[str, Any], path: str | None) -> Any:
    """The value at a dotted path in nested objects, `found` itself for no path; None if there is none."""
    value: Any = found
    for name in path.split(".") if path else ():
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _value_at(text: str, place: int) -> tuple[Any, int | None]:
    """The JSON value that starts at `place` and where it ends; the end is None if there is no valid value.

    Raises RecursionError for one that is nested too deeply.
    """
    try:
        return _DECODER.raw_decode(text, place)
    except ValueError:
        return None, None


def _members_at(text: str, place: int) -> tuple[list[tuple[str, Any]], int]:
    """The complete members of the object that opens at `place`, and where reading stopped."""
    found: list[tuple[str, Any]] = []
    place = _skip(text, place + 1)
    while text.startswith('"', place):
        name, end = _value_at(text, place)
        if end is None or not text.startswith(":", colon := _skip(text, end)):
            break
        value, end = _value_at(text, _skip(text, colon + 1))
        if end is None or (end == len(text) and not text.endswith(("}", "]", '"'))):
            break  # a number at the very end may have lost its last digits
        found.append((name, value))
        place = _skip(text, end)
        if not text.startswith(",", place):
            break
        place = _skip(text, place + 1)
    return found, place


def _skip(text: str, place: int) -> int:
    """The first place at or after `place` without white space."""
    match = _SPACE.match(text, place)
    return match.end() if match else place
