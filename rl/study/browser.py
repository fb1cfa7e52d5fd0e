"""The samples of a study that are worth a look, as plain data for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rl.run.past_runs import Run
from rl.study.predictors import FIRST, first_rollout
from rl.study.samples import KINDS, Drawn, choose, read_updates, spread

UPDATES = 3
"""The updates of each run whose samples are shown: the first, the middle and the last."""


@dataclass
class Samples:
    """Samples of all runs. problems: [text, reference answer]; groups: a judge's whole groups; both by index.

    first: the figures of each run's reward on its first rollout (`rl.study.predictors`), empty without samples.
    unreadable: how many lines of each folder's samples could not be read, if any. updates: the updates shown of each
    folder.
    """

    problems: list[tuple[str, str | None]] = field(default_factory=list)
    groups: list[list[dict[str, Any]]] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)
    first: dict[Path, Mapping[str, float]] = field(default_factory=dict)
    unreadable: dict[Path, int] = field(default_factory=dict)


def collect(runs: Sequence[Run], most: int) -> Samples:
    """Choose at most `most` samples, evenly over runs, updates and kinds. Reads each file once."""
    found = Samples()
    seen: dict[Any, int] = {}
    each = most // max(1, len(runs) * UPDATES * len(KINDS))
    for number, run in enumerate(runs):
        shown = spread(run, UPDATES)
        by_update, unreadable = read_updates(run.folder / "samples.jsonl", {FIRST, *shown})
        found.first[run.folder] = first_rollout(by_update[FIRST])
        if unreadable:
            found.unreadable[run.folder] = unreadable
        for update in shown:
            for chosen in choose(by_update[update], max(1, each) if most else 0):
                found.samples.append(_plain(chosen.kind, chosen.sample, number, by_update[update], found, seen))
    if len(found.samples) > most:
        found.samples = [found.samples[place * len(found.samples) // most] for place in range(most)]
    return found


def _plain(
    kind: str, one: Drawn, run: int, drawn: Sequence[Drawn], found: Samples, seen: dict[Any, int]
) -> dict[str, Any]:
    """A sample without empty fields. Its problem and its group are kept once each."""
    score = one.score or {}
    sample: dict[str, Any] = {
        "run": run,
        "update": one.update,
        "kind": kind,
        "problem": _index(found.problems, (one.problem, one.answer), seen),
        "text": one.response,
        "tokens": one.tokens,
        "end": one.finish_reason,
        "correct": one.correct,
        "value": _short(one.value),
        "failure": score.get("failure"),
    }
    if score.get("steps") and len(score["steps"]) == len(score.get("spans") or ()):
        sample["steps"] = [
            [start, end, _short(value)] for (start, end), value in zip(score["spans"], score["steps"], strict=True)
        ]
    parts = {name: _short(value) for name, value in (score.get("parts") or {}).items() if name != "winner"}
    if parts:
        sample["parts"] = parts
    if score.get("matches"):
        group = [other for other in drawn if other.problem_id == one.problem_id]
        key = (run, one.update, one.problem_id)
        if key not in seen:
            seen[key] = len(found.groups)
            found.groups.append([_member(other) for other in group])
        sample |= {"group": seen[key], "place": one.place}
    return {name: value for name, value in sample.items() if value is not None}


def _member(one: Drawn) -> dict[str, Any]:
    matches = (one.score or {}).get("matches") or {}
    return {"text": one.response, "value": _short(one.value), "correct": one.correct, "matches": dict(matches)}


def _index(kept: list[Any], value: Any, seen: dict[Any, int]) -> int:
    if value not in seen:
        seen[value] = len(kept)
        kept.append(value)
    return seen[value]


def _short(value: Any) -> float | None:
    return float(f"{value:.4g}") if isinstance(value, int | float) else None
