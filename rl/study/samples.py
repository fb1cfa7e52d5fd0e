"""Read a run's samples.jsonl: the groups of chosen updates, and the samples worth a look.

A file of a long run has hundreds of megabytes, so it is read once, line by line, and only the lines of the wanted
updates are parsed: every line begins with its update and stage.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import numpy as np
from scipy.stats import rankdata

from rewards.records import score_from_json
from rewards.types import Score
from rl.run.past_runs import Run

Item = TypeVar("Item")

HEAD = re.compile(rb'\{"update": (\d+), "stage": "(\w+)"')

KINDS = {
    "best": "highest reward",
    "worst": "lowest reward",
    "paid though wrong": "highest rewards of wrong responses",
    "right but unpaid": "lowest rewards of right responses",
    "parts disagree": "the reward's parts rank it most differently",
    "rewards disagree": "rewards rank it most differently (first update, of the same policy)",
    "median": "nearest to the median reward",
    "failed": "no score, with the reason",
}
"""The kinds of samples that are chosen, and what they are."""

ABOUT_TOURNAMENTS = ("winner", "judgements", "no_verdict")
"""Parts of a pairwise reward that describe its tournament, not the response."""


@dataclass(frozen=True)
class Drawn:
    """One line of samples.jsonl. place: its index in its group, which `score.matches` refers to."""

    update: int
    stage: str
    problem_id: str
    problem: str
    answer: str | None
    response: str
    tokens: int
    finish_reason: str
    correct: bool | None
    score: Score | None
    place: int

    @property
    def value(self) -> float | None:
        """The reward; None if there is none or it failed."""
        return self.score.value if self.score is not None and self.score.ok else None


@dataclass(frozen=True)
class Chosen:
    """A sample worth a look, and why (a key of `KINDS`)."""

    kind: str
    sample: Drawn


def read_updates(path: Path, wanted: Iterable[tuple[int, str]]) -> tuple[dict[tuple[int, str], list[Drawn]], int]:
    """The samples of the wanted (update, stage) pairs, and how many lines could not be read."""
    found: dict[tuple[int, str], list[Drawn]] = {head: [] for head in wanted}
    unreadable = 0
    places: dict[tuple[int, str, str], int] = {}
    for head, line in _lines(path):
        if head not in found:
            continue
        try:
            row = json.loads(line)
            key = (*head, str(row["problem_id"]))
            place = places[key] = places.get(key, -1) + 1
            found[head].append(_drawn(row, place))
        except (ValueError, KeyError, TypeError, RecursionError):
            unreadable += 1
    return found, unreadable


def spread(run: Run, count: int) -> list[tuple[int, str]]:
    """At most `count` training updates of a run, evenly spaced, the first and the last among them."""
    pool = [update for update, _ in run.series("response/count")]
    if count < 1 or not pool:
        return []
    places = np.unique(np.linspace(0, len(pool) - 1, min(count, len(pool))).round().astype(int)) if count > 1 else [-1]
    return [(pool[place], "train") for place in places]


def choose(samples: Sequence[Drawn], each: int) -> list[Chosen]:
    """At most `each` samples of every kind, no sample twice; the kinds in the order of `KINDS`.

    Samples with the same problem and text count as one, and other problems are preferred to another sample of one.
    """
    scored = [one for one in _distinct(samples) if one.value is not None]
    failed = [one for one in samples if one.score is not None and one.value is None]
    middle = median([value_of(one) for one in scored]) if scored else 0.0
    rising = sorted(scored, key=value_of)
    orders = {
        "best": rising[::-1],
        "worst": rising,
        "paid though wrong": [one for one in rising[::-1] if one.correct is False],
        "right but unpaid": [one for one in rising if one.correct],
        "parts disagree": _by_disagreement(scored),
        "rewards disagree": [],
        "median": sorted(scored, key=lambda one: abs(value_of(one) - middle)),
        "failed": failed,
    }
    taken: set[int] = set()
    chosen = []
    # Disputed samples are the rarer find, so they choose first.
    for kind in sorted(KINDS, key=lambda kind: kind in ("best", "worst", "median")):
        picked = varied([one for one in orders[kind] if id(one) not in taken], lambda one: one.problem_id)[:each]
        taken |= {id(one) for one in picked}
        chosen += [Chosen(kind, one) for one in picked]
    return sorted(chosen, key=lambda one: list(KINDS).index(one.kind))


def varied(items: Sequence[Item], problem: Callable[[Item], str]) -> list[Item]:
    """The same items, the first of every problem before the second of any."""
    seen: Counter[str] = Counter()
    turns = []
    for one in items:
        turns.append(seen[problem(one)])
        seen[problem(one)] += 1
    return [items[place] for place in np.argsort(turns, kind="stable")]


def value_of(sample: Drawn) -> float:
    """The reward of a scored sample."""
    assert sample.value is not None
    return sample.value


def objectives(score: Score | None) -> dict[str, float]:
    """The parts of a score that judge the response: of ArmoRM the rewards, of a judge none, else all."""
    every = {} if score is None else score.parts
    parts = {name: value for name, value in every.items() if name not in ABOUT_TOURNAMENTS}
    rewards = {name: value for name, value in parts.items() if name.startswith("reward/")}
    return rewards or parts


def _by_disagreement(samples: Sequence[Drawn]) -> list[Drawn]:
    """Samples by the spread of the ranks that the reward's parts give them; none if there are fewer than two parts."""
    parts = [objectives(one.score) for one in samples]
    names = [name for name in (parts[0] if parts else {}) if all(name in one for one in parts)]
    if len(names) < 2:
        return []
    ranks = np.stack([rankdata([one[name] for one in parts]) for name in names])
    return [samples[number] for number in np.argsort(-np.ptp(ranks, axis=0), kind="stable")]


def _distinct(samples: Sequence[Drawn]) -> list[Drawn]:
    first: dict[tuple[str, str], Drawn] = {}
    for one in samples:
        first.setdefault((one.problem_id, one.response), one)
    return list(first.values())


def _drawn(row: dict[str, Any], place: int) -> Drawn:
    return Drawn(
        update=int(row["update"]),
        stage=str(row["stage"]),
        problem_id=str(row["problem_id"]),
        problem=str(row["problem"]),
        answer=None if row.get("answer") is None else str(row["answer"]),
        response=str(row["response"]),
        tokens=int(row.get("tokens", 0)),
        finish_reason=str(row.get("finish_reason", "")),
        correct=row.get("correct") if isinstance(row.get("correct"), bool) else None,
        score=None if row.get("score") is None else score_from_json(row["score"]),
        place=place,
    )


def _lines(path: Path) -> Iterator[tuple[tuple[int, str], bytes]]:
    """Each whole line with its update and stage. A half-written or foreign line is passed over."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        for line in file:
            if (head := HEAD.match(line)) and line.endswith(b"\n"):
                yield (int(head[1]), head[2].decode()), line
