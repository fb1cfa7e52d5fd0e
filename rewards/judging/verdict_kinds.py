"""The kinds of verdict on a pair: one preference, a verdict on each side, or two scores in JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from rewards.judging.json_text import fenced_objects, inside, number_of, objects
from rewards.judging.reading import NO_VERDICT, Finder, Pick, Word, checked_scale, checked_values
from rewards.verdicts import Verdict


class PairReader(Protocol):
    """Reads a judge's verdict on a pair."""

    def read(self, text: str) -> Verdict:
        """The verdict in what the judge wrote, or the reason why there is none."""
        ...

    def defused(self, text: str) -> str:
        """A text that a response wrote, so changed that it cannot pass for a verdict."""
        ...


@dataclass(frozen=True)
class Preference:
    """One verdict that says which side is better.

    values: what each verdict says of A, from 0 (B is better) through 0.5 (a tie) to 1 (A is better). patterns, tag,
    pick: see `rewards.judging.reading.Finder`. The verdict's sides add up to 1, so a tie puts nobody out of a knockout.
    """

    values: dict[str, float]
    patterns: tuple[str, ...] = ()
    tag: str | None = None
    pick: Pick = "last"

    def __post_init__(self) -> None:
        Word(self.values, self.patterns, self.tag, self.pick)

    @cached_property
    def word(self) -> Word:
        """The verdict as a word."""
        return Word(self.values, self.patterns, self.tag, self.pick)

    def read(self, text: str) -> Verdict:
        """See `PairReader`."""
        share = self.word.read(text)
        return Verdict.none(share) if isinstance(share, str) else Verdict(share, 1 - share, text=text)

    def defused(self, text: str) -> str:
        """See `PairReader`."""
        return self.word.defused(text)


@dataclass(frozen=True)
class Sides:
    """A verdict on each side, which may both be right and both be wrong, as PairJudge RM's.

    a, b: the regular expression of each side's verdict, with one group. values: how correct each verdict says the side
    is, in [0, 1]. pick: see `Pick`; `listed` is not possible. A side without a readable verdict is None; the other
    side's counts, as `unreadable` of `rewards.pairjudge.PairJudgeReward` says.
    """

    a: str
    b: str
    values: dict[str, float]
    pick: Pick = "first"

    def __post_init__(self) -> None:
        if self.pick not in ("first", "last", "only"):
            raise ValueError(f"pick must be first, last or only, not {self.pick!r}")
        checked_values(self.values)
        for name, pattern in (("a", self.a), ("b", self.b)):
            try:
                Finder((pattern,))
            except ValueError as error:
                raise ValueError(f"{name}{str(error).removeprefix('patterns')}") from error

    @cached_property
    def words(self) -> dict[str, Word]:
        """The verdict on each side as a word."""
        return {"A": Word(self.values, (self.a,), pick=self.pick), "B": Word(self.values, (self.b,), pick=self.pick)}

    def read(self, text: str) -> Verdict:
        """See `PairReader`."""
        read = {side: word.read(text) for side, word in self.words.items()}
        sides = {side: None if isinstance(value, str) else value for side, value in read.items()}
        missing = [side for side, value in sides.items() if value is None]
        reason = f"the judge gave no verdict on response {' and '.join(missing)}" if missing else None
        return Verdict(sides["A"], sides["B"], reason, text=text)

    def defused(self, text: str) -> str:
        """See `PairReader`."""
        for word in self.words.values():
            text = word.defused(text)
        return text


@dataclass(frozen=True)
class JsonScores:
    """Two scores in a JSON object, and perhaps a ranking that breaks ties, as Nemotron GenRM's.

    a, b: the names of the sides' scores. scale: the worst and the best score. ranking: the name of a ranking, which
    counts where the scores are equal; its scale has "A is much better" first, and its middle is a tie. missing: a score
    that stands for one that is absent although the object has another of these numbers; None: no verdict then. under:
    the name of an inner object that has the numbers, if it is there.

    The object is the first usable one in a ```json block, else the last usable one in the text. One with a number
    outside its scale is not usable. The verdict's sides add up to 1: A's is 0.5 + (score A - score B) / (2 * range).
    """

    a: str
    b: str
    scale: tuple[float, float]
    ranking: str | None = None
    ranking_scale: tuple[float, float] | None = None
    missing: float | None = None
    under: str | None = None

    def __post_init__(self) -> None:
        checked_scale(self.scale)
        if (self.ranking is None) != (self.ranking_scale is None):
            raise ValueError("ranking and ranking_scale must be given together")
        if self.ranking_scale is not None:
            checked_scale(self.ranking_scale, "ranking_scale")
        if self.missing is not None and not min(self.scale) <= self.missing <= max(self.scale):
            raise ValueError(f"missing must be on the scale {list(self.scale)}, not {self.missing}")
        if len({self.a, self.b, self.ranking}) < 3:
            raise ValueError("a, b and ranking must be different names")

    def read(self, text: str) -> Verdict:
        """See `PairReader`."""
        shares = [self._share(found) for found in fenced_objects(text)]
        usable = [share for share in shares if isinstance(share, float)]
        if usable:
            return Verdict(usable[0], 1 - usable[0], text=text)
        shares += [self._share(found) for found in objects(text)]
        usable = [share for share in shares if isinstance(share, float)]
        if usable:
            return Verdict(usable[-1], 1 - usable[-1], text=text)
        reasons = [share for share in shares if isinstance(share, str)]
        return Verdict.none(reasons[-1] if reasons else NO_VERDICT)

    def _share(self, found: Mapping[str, Any]) -> float | str | None:
        """A's share in an object, why it is not usable, or None if it has nothing to do with the verdict."""
        within = inside(found, self.under) if self.under else None
        found = within if isinstance(within, Mapping) else found
        named = [name for name in (self.a, self.b, self.ranking) if name is not None and name in found]
        if not named:
            return None
        numbers: dict[str, float] = {}
        for name in named:
            number, scale = number_of(found[name]), self.ranking_scale if name == self.ranking else self.scale
            if number is None:
                return f"{name} is not a number in the judge's JSON"
            if scale is not None and not min(scale) <= number <= max(scale):
                return f"{name} is outside {min(scale):g} to {max(scale):g} in the judge's JSON"
            numbers[name] = number
        absent = [name for name in (self.a, self.b) if name not in numbers]
        if absent and self.missing is None:
            return f"{absent[0]} is missing in the judge's JSON"
        worst, best = self.scale
        first, second = (numbers.get(name, self.missing or 0.0) for name in (self.a, self.b))
        ahead = (first - second) / (best - worst)
        if ahead == 0 and self.ranking is not None and self.ranking_scale is not None and self.ranking in numbers:
            for_a, for_b = self.ranking_scale
            towards_a = ((for_a + for_b) / 2 - numbers[self.ranking]) * (1 if for_a < for_b else -1)
            ahead = 2 * towards_a / abs(best - worst)
        return min(1.0, max(0.0, 0.5 + ahead / 2))

    def defused(self, text: str) -> str:
        """See `PairReader`. The names of the numbers lose their quotes, so that a quoted object is no JSON."""
        names = "|".join(re.escape(name) for name in (self.a, self.b, self.ranking) if name)
        return re.sub(rf'"({names})"', r"'\1'", text)


KINDS: dict[str, type] = {"preference": Preference, "sides": Sides, "json_scores": JsonScores}
"""The kinds of verdict on a pair by their name in a format file."""
