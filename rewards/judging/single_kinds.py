"""The kinds of verdict on one response: JSON for every criterion, a word, a number, or the probability of a word."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from rewards.judging.generators import LISTED, Written
from rewards.judging.json_text import members
from rewards.judging.reading import NO_VERDICT, SEVERAL, Number, Word, key_of
from rewards.judging.rubric import Criterion

Values = dict[str, float | str]
"""What each criterion is worth, in [0, 1], or why it has no verdict."""


class SingleReader(Protocol):
    """Reads a judge's verdicts on one response."""

    def defused(self, text: str) -> str:
        """A text that a response wrote, so changed that it cannot pass for a verdict."""
        ...


@dataclass(frozen=True)
class CriteriaJson:
    """A JSON object with, for every criterion's name, an object with a reason and then a verdict.

    together: ask for all criteria in one text; otherwise each criterion gets a text of its own.
    The last object in the text that names a criterion is read. If the text was cut off, the verdicts before the cut
    count. There is no verdict on a criterion that the object does not name, or names twice with different verdicts, or
    whose verdict is not one of its choices.
    """

    together: bool = True

    def schema(self, criteria: Sequence[Criterion]) -> dict[str, Any]:
        """The JSON schema of the judge's text; a reason comes before its verdict."""

        def member(one: Criterion) -> dict[str, Any]:
            inner = {"reason": {"type": "string"}, "verdict": {"type": "string", "enum": list(one.choices)}}
            return _closed(inner)

        return _closed({one.name: member(one) for one in criteria})

    def example(self, criteria: Sequence[Criterion]) -> str:
        """The form of the judge's text, for a prompt."""
        form = {one.name: {"reason": "...", "verdict": " | ".join(one.choices)} for one in criteria}
        return json.dumps(form, indent=1, ensure_ascii=False)

    def read(self, text: str, criteria: Sequence[Criterion]) -> Values:
        """The value of every criterion, or why there is none."""
        names = {key_of(one.name) for one in criteria}
        found: list[tuple[str, Any]] = []
        for candidate in _candidates(text):
            named = [(key_of(name), value) for name, value in candidate if key_of(name) in names]
            found = named or found
        return {
            one.name: _verdict(one, [value for name, value in found if name == key_of(one.name)]) for one in criteria
        }

    def defused(self, text: str) -> str:
        """See `SingleReader`. The word "verdict" loses its quotes, so that a quoted object is not read."""
        return text.replace('"verdict"', "'verdict'")


@dataclass(frozen=True)
class Probability:
    """P(yes) / (P(yes) + P(no)) at one token of what the judge wrote, from its log-probabilities.

    yes, no: the texts of each; case and white space do not count. at: `first` reads the first token, whatever it is,
    and nothing more is written; `last` reads the last token that is one of these texts, as after thoughts.
    A text that is not among the 20 likeliest tokens has probability 0; if none is, there is no verdict.
    """

    yes: tuple[str, ...] = ("yes",)
    no: tuple[str, ...] = ("no",)
    at: Literal["first", "last"] = "last"

    def __post_init__(self) -> None:
        if self.at not in ("first", "last"):
            raise ValueError(f"at must be first or last, not {self.at!r}")
        for name in ("yes", "no"):
            if not getattr(self, name) or not all(map(key_of, getattr(self, name))):
                raise ValueError(f"{name} must be texts that are not empty")
        if set(map(key_of, self.yes)) & set(map(key_of, self.no)):
            raise ValueError("yes and no must not share a text")

    def read(self, written: Written) -> float | str:
        """The probability, or why there is none."""
        if not written.tokens:
            return "the judge gave no log-probabilities"
        words = {key_of(word) for word in (*self.yes, *self.no)}
        said = [one for one in written.tokens if key_of(one.text) in words]
        if self.at == "last" and not said:
            return NO_VERDICT
        token = written.tokens[0] if self.at == "first" else said[-1]
        yes, no = (self._mass(token.likeliest, side) for side in (self.yes, self.no))
        if not 0 < yes + no < math.inf:
            return f"neither verdict is among the {LISTED} likeliest tokens"
        return yes / (yes + no)

    def _mass(self, likeliest: Sequence[tuple[str, float]], words: Sequence[str]) -> float:
        """The probability of any of the words."""
        keys = {key_of(word) for word in words}
        return sum(math.exp(min(0.0, value)) for text, value in likeliest if key_of(text) in keys and value == value)

    def defused(self, text: str) -> str:
        """The same text: what is read is a token that the judge wrote last or first, wherever it is in a line."""
        return text


def _closed(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of an object with exactly these members."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def _candidates(text: str) -> Iterator[list[tuple[str, Any]]]:
    """The members of the objects in a text, and of the objects that are members of these."""
    for found in members(text):
        yield found
        yield from (list(value.items()) for _, value in found if isinstance(value, dict))


def _verdict(criterion: Criterion, given: Sequence[Any]) -> float | str:
    """A criterion's value from the members that have its name."""
    verdicts = [value["verdict"] for value in given if isinstance(value, Mapping) and "verdict" in value]
    if not verdicts:
        return NO_VERDICT
    values = [criterion.value(verdict) for verdict in verdicts]
    if values[0] is None:
        return f"the verdict is not one of {', '.join(criterion.choices)}"
    return values[0] if len(set(values)) == 1 else SEVERAL


KINDS: dict[str, type] = {"criteria_json": CriteriaJson, "word": Word, "number": Number, "probability": Probability}
"""The kinds of verdict on one response by their name in a format file."""
