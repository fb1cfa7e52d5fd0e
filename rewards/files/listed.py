"""Read the items of one JSON list, each with its line; after a broken item, reading continues with the next one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from rewards.files.values import DECODER, SURROGATE, TOO_DEEP, check_value

SHOWN_CHARACTERS = 2000
_STRUCTURE = re.compile(r'"(?:[^"\\\n]|\\[^\n])*"|[\[\]{}"]|,')
_PAIRS = {"]": "[", "}": "{"}
_BETWEEN = re.compile(r"[\s,]*")
_NEXT_OBJECT = re.compile(r",\s*(?=\{)")
_CONTENT = re.compile(r"[^\s,\]]")

Item = tuple[int, object, str | None]
"""A line number, from 1, and a value; or the start of its text, and the reason why it cannot be used."""


def is_list(text: str) -> bool:
    """Whether a text that begins with `[` is one JSON list, rather than a list on the first line of a JSONL file."""
    line, _, rest = text.lstrip().partition("\n")
    return not (rest.strip() and _end(line, 0) == len(line.rstrip()))


def items(text: str) -> Iterator[Item]:
    """Every item of the list in `text`, and a fault for every stretch of it that is not an item."""
    place, line, counted = text.index("[") + 1, 1, 0
    shapes: set[frozenset[str]] = set()
    while True:
        place = _BETWEEN.match(text, place).end()  # type: ignore[union-attr]
        line, counted = line + text.count("\n", counted, place), place
        if place >= len(text):
            yield line, "", "the list has no end: the file may be cut short"
            return
        if text[place] == "]":
            if rest := text[place + 1 :].strip():
                yield line, rest[:SHOWN_CHARACTERS], "text after the end of the list, which is skipped"
            return
        try:
            value, end = DECODER.raw_decode(text, place)
        except (json.JSONDecodeError, RecursionError) as error:
            why = TOO_DEEP if isinstance(error, RecursionError) else f"not valid JSON ({error.msg})"
            end, lost = _after(text, place, shapes)
            yield line, text[place : min(end, place + SHOWN_CHARACTERS)], why + lost
            if lost:
                return
        else:
            try:
                if SURROGATE.search(text, place, end):
                    raise ValueError("not valid UTF-8")
                check_value(value)
                if isinstance(value, dict):
                    shapes.add(frozenset(value))
                yield line, value, None
            except ValueError as error:
                yield line, text[place : min(end, place + SHOWN_CHARACTERS)], str(error)
        place = end


def _after(text: str, place: int, shapes: set[frozenset[str]]) -> tuple[int, str]:
    """Where the broken item at `place` ends, and a description of what else is lost, if anything.

    It ends where its brackets close. If they never close, the next item is the next line with the same indentation and
    first character that parses as a value, or the next object with the same keys as an earlier item (`shapes`).
    """
    end = _end(text, place)
    if end is not None:
        return end, ""
    margin = text[text.rfind("\n", 0, place) + 1 : place + 1]
    if not margin[:-1].strip():
        start = text.find("\n" + margin, place)
        while start >= 0:
            begin = start + len(margin)
            if _value_at(text, begin) is not None:
                return begin, ""
            start = text.find("\n" + margin, begin)
    for match in _NEXT_OBJECT.finditer(text, place):
        value = _value_at(text, match.end())
        if isinstance(value, dict) and frozenset(value) in shapes:
            return match.end(), ""
    return len(text), ": the rest of the file is skipped" if _CONTENT.search(text, place + 1) else ""


def _value_at(text: str, place: int) -> object:
    try:
        return DECODER.raw_decode(text, place)[0]
    except (json.JSONDecodeError, RecursionError):
        return None


def _end(text: str, place: int) -> int | None:
    """Where the value at `place` ends, judging by brackets and commas alone; None if they do not match."""
    opened: list[str] = []
    for match in _STRUCTURE.finditer(text, place):
        mark = match[0]
        if mark == '"':  # a string that does not end on its line
            return None
        if mark in ("[", "{"):
            opened.append(mark)
        elif mark in _PAIRS:
            if not opened:
                return match.start()
            if opened.pop() != _PAIRS[mark]:
                return None
            if not opened:
                return match.end()
        elif mark == "," and not opened:
            return match.start()
    return None
