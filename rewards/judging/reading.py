"""Read what a judge says about one text: find the place of the verdict, and turn it into a number in [0, 1].

A verdict that cannot be read is a `str`, the reason; it is never a number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeVar

from rewards.judging.json_text import number_of

Found = TypeVar("Found")

Pick = Literal["first", "last", "listed", "only"]
"""Which of several verdicts counts: the first, the last, the first of the listed values that occurs, or only one that
all agree on."""

Scale = tuple[float, float]
"""The worst and the best number on a scale."""

NO_VERDICT = "the judge gave no verdict"
SEVERAL = "the judge gave several different verdicts"


@dataclass(frozen=True)
class Finder:
    """Finds the text of a verdict.

    patterns: regular expressions with one group each, tried in order; the first that finds a verdict is used. `tag`
    stands for the pattern of `<tag>...</tag>`, tried before `patterns`. pick: see `Pick`.
    Raises ValueError for a pattern that is not valid or does not have exactly one group.
    """

    patterns: tuple[str, ...] = ()
    tag: str | None = None
    pick: Pick = "last"

    def __post_init__(self) -> None:
        if not self.patterns and self.tag is None:
            raise ValueError("patterns and tag are both missing: one of them must say where the verdict is")
        for pattern in self.patterns:
            groups = compiled(pattern, "patterns").groups
            if groups != 1:
                raise ValueError(f"patterns: {pattern!r} must have exactly one group (...), not {groups}")
        if self.pick not in ("first", "last", "listed", "only"):
            raise ValueError(f"pick must be first, last, listed or only, not {self.pick!r}")

    @cached_property
    def compiled(self) -> tuple[re.Pattern[str], ...]:
        """All patterns, compiled; `.` also matches a new line. Only the tag's ignores case."""
        found = [compiled(pattern, "patterns") for pattern in self.patterns]
        if self.tag is not None:
            name = re.escape(self.tag)
            # Up to the nearest opening tag, so that many tags without an end take no quadratic time.
            inner = rf"((?:(?!<\s*{name}\s*>).)*?)"
            pattern = rf"<\s*{name}\s*>{inner}<\s*/\s*{name}\s*>"
            found.insert(0, re.compile(pattern, re.DOTALL | re.IGNORECASE))
        return tuple(found)

    def first_found(self, text: str, value: Callable[[str], Found | None]) -> list[Found]:
        """The values, in order, of what the first pattern that finds any has captured; `value` gives None for none."""
        for pattern in self.compiled:
            captured = [match.group(1) for match in pattern.finditer(text) if match.group(1) is not None]
            found = [one for one in map(value, captured) if one is not None]
            if found:
                return found
        return []

    def defused(self, text: str) -> str:
        """`text` changed wherever a pattern matches, so that a judge that quotes it does not write a verdict.

        Brackets are exchanged (`[[A]]` becomes `((A))`); a verdict without brackets is put in quotes or spaced out.
        """
        for pattern in self.compiled:
            text = pattern.sub(lambda match, pattern=pattern: _defused(match, pattern), text)  # type: ignore[misc]
        return text


_BRACKETS = str.maketrans("<>[]{}", "()()()")


def compiled(pattern: str, key: str) -> re.Pattern[str]:
    """A regular expression; `.` also matches a new line. Raises ValueError, naming the key, if it is not valid."""
    try:
        return re.compile(pattern, re.DOTALL)
    except re.error as error:
        raise ValueError(f"{key}: {pattern!r} is not a valid regular expression: {error}") from error


def without_brackets(text: str, patterns: Sequence[str]) -> str:
    """`text` with round brackets instead of others wherever a pattern matches."""
    for pattern in patterns:
        text = compiled(pattern, "patterns").sub(lambda match: match.group().translate(_BRACKETS), text)
    return text


def _defused(match: re.Match[str], pattern: re.Pattern[str]) -> str:
    """A verdict's text so changed that the pattern no longer matches it."""
    whole, (start, end) = match.group(), match.span(1)
    before, verdict, after = whole[: start - match.start()], whole[start - match.start() : end - match.start()], ""
    after = whole[end - match.start() :]
    ways = (whole.translate(_BRACKETS), f"{before}'{verdict}'{after}", f"{before}{' '.join(verdict)}{after}")
    return next((way for way in ways if not pattern.search(way)), " ".join(whole))


def key_of(text: str) -> str:
    """A verdict's text in comparable form: without case, surrounding white space and final full stop."""
    return " ".join(text.split()).removesuffix(".").strip().casefold()


def checked_values(values: Mapping[str, float]) -> dict[str, float]:
    """The values by the comparable form of their texts. Raises ValueError if they cannot be used."""
    if len(values) < 2:
        raise ValueError("values must name at least two verdicts")
    found: dict[str, float] = {}
    for text, value in values.items():
        if not 0 <= value <= 1:
            raise ValueError(f"values.{text} must be in [0, 1], not {value}")
        if key_of(text) in found:
            raise ValueError(f"values names {text!r} twice (case and white space do not count)")
        found[key_of(text)] = float(value)
    return found


def checked_scale(scale: Sequence[float], name: str = "scale") -> Scale:
    """A scale. Raises ValueError unless it is two different numbers."""
    if len(scale) != 2 or not abs(scale[0] - scale[1]) > 0 or not all(abs(end) < float("inf") for end in scale):
        raise ValueError(f"{name} must be the worst and the best number, such as [1, 10], not {list(scale)}")
    return float(scale[0]), float(scale[1])


def on_scale(number: float, scale: Scale) -> float | None:
    """A number's place on a scale in [0, 1], 1 for the best; None for a number outside it."""
    worst, best = scale
    return (number - worst) / (best - worst) if min(scale) <= number <= max(scale) else None


@dataclass(frozen=True)
class Word:
    """A verdict that is one of a few texts. values: each text's value in [0, 1]. patterns, tag, pick: see `Finder`."""

    values: dict[str, float]
    patterns: tuple[str, ...] = ()
    tag: str | None = None
    pick: Pick = "last"

    def __post_init__(self) -> None:
        checked_values(self.values)
        Finder(self.patterns, self.tag, self.pick)

    @cached_property
    def finder(self) -> Finder:
        """Where the verdict is."""
        return Finder(self.patterns, self.tag, self.pick)

    @cached_property
    def known(self) -> dict[str, float]:
        """The values by comparable text."""
        return checked_values(self.values)

    def read(self, text: str) -> float | str:
        """The value of the verdict in a text, or why there is none."""
        found = self.finder.first_found(text, lambda one: key_of(one) if key_of(one) in self.known else None)
        if not found:
            return NO_VERDICT
        if self.pick == "listed":
            return next(value for word, value in self.known.items() if word in found)
        if self.pick == "only" and len(set(found)) > 1:
            return SEVERAL
        return self.known[found[-1 if self.pick == "last" else 0]]

    def defused(self, text: str) -> str:
        """A text that a response wrote, so changed that it cannot pass for a verdict."""
        return self.finder.defused(text)


@dataclass(frozen=True)
class Number:
    """A verdict that is a number on a scale. scale: the worst and the best number. Others: see `Finder`."""

    scale: tuple[float, float]
    patterns: tuple[str, ...] = ()
    tag: str | None = None
    pick: Literal["first", "last", "only"] = "last"

    def __post_init__(self) -> None:
        checked_scale(self.scale)
        if self.pick not in ("first", "last", "only"):
            raise ValueError(f"pick must be first, last or only, not {self.pick!r}")
        Finder(self.patterns, self.tag, self.pick)

    @cached_property
    def finder(self) -> Finder:
        """Where the verdict is."""
        return Finder(self.patterns, self.tag, self.pick)

    def read(self, text: str) -> float | str:
        """The number's place on the scale, in [0, 1], or why there is none."""
        found = self.finder.first_found(text, lambda one: number_of(one.strip()))
        if not found:
            return NO_VERDICT
        if self.pick == "only" and len(set(found)) > 1:
            return SEVERAL
        value = on_scale(found[-1 if self.pick == "last" else 0], checked_scale(self.scale))
        low, high = sorted(self.scale)
        return f"the judge's number is outside {low:g} to {high:g}" if value is None else value

    def defused(self, text: str) -> str:
        """A text that a response wrote, so changed that it cannot pass for a verdict."""
        return self.finder.defused(text)
