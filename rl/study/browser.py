"""The samples of a study that are worth a look, as plain data for the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rewards.types import Score
from rl.study.disputes import disputes
from rl.study.predictors import FIRST, first_rollout
from rl.study.samples import Drawn, choose, objectives, read_updates, spread
from rl.study.settings import Setting

UPDATES = 3
"""The updates of each run whose samples are shown: the first, the middle and the last."""

USUAL = 5
"""The kinds of samples that nearly every update has; the others are found in some runs only."""


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


def collect(settings: Sequence[Setting], most: int) -> Samples:
    """Choose at most `most` samples, evenly over runs, updates and kinds. Reads each file once.

    A sample names its run by its place among all runs of `settings`.
    """
    found = Samples()
    seen: dict[Any, int] = {}
    runs = [(setting, run) for setting in settings for run in setting.runs]
    each = math.ceil(most / max(1, len(runs) * UPDATES * USUAL))
    first: dict[str, dict[str, tuple[int, list[Drawn]]]] = {}
    for number, (setting, run) in enumerate(runs):
        shown = spread(run, UPDATES)
        by_update, unreadable = read_updates(run.folder / "samples.jsonl", {FIRST, *shown})
        found.first[run.folder] = first_rollout(by_update[FIRST])
        first.setdefault(run.seed, {}).setdefault(setting.reward, (number, by_update[FIRST]))
        if unreadable:
            found.unreadable[run.folder] = unreadable
        for update in shown:
            for chosen in choose(by_update[update], each):
                found.samples.append(_plain(chosen.kind, chosen.sample, number, by_update[update], found, seen))
    for by_reward in first.values():
        disputed = disputes({reward: rollout for reward, (_, rollout) in by_reward.items()})
        for one in disputed[: each * len(by_reward)]:
            number, rollout = by_reward[next(iter(one.ranks))]
            sample = _plain("rewards disagree", one.sample, number, rollout, found, seen)
            found.samples.append(sample | {"ranks": {reward: _short(rank) for reward, rank in one.ranks.items()}})
    if len(found.samples) > most:
        found.samples = [found.samples[place * len(found.samples) // most] for place in range(most)]
    return found


def _plain(
    kind: str, one: Drawn, run: int, drawn: Sequence[Drawn], found: Samples, seen: dict[Any, int]
) -> dict[str, Any]:
    """A sample without empty fields. Its problem and its group are kept once each."""
    score = Score.failed("no reward was used") if one.score is None else one.score
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
        "failure": score.failure,
    }
    if score.steps is not None and score.spans is not None:
        sample["steps"] = [[*span, _short(value)] for span, value in zip(score.spans, score.steps, strict=True)]
    judged = objectives(score)
    if judged:
        sample["parts"] = {name.removeprefix("reward/"): _short(value) for name, value in judged.items()}
    if others := {name: _short(value) for name, value in score.parts.items() if name not in judged}:
        sample["others"] = others
    group = [other for other in drawn if other.problem_id == one.problem_id]
    if any(other.score is not None and other.score.matches for other in group):
        key = (run, one.update, one.problem_id)
        if key not in seen:
            seen[key] = len(found.groups)
            found.groups.append([_member(other) for other in group])
        sample |= {"group": seen[key], "place": one.place}
    return {name: value for name, value in sample.items() if value is not None}


def _member(one: Drawn) -> dict[str, Any]:
    matches = {} if one.score is None else dict(one.score.matches or {})
    return {"text": one.response, "value": _short(one.value), "correct": one.correct, "matches": matches}


def _index(kept: list[Any], value: Any, seen: dict[Any, int]) -> int:
    if value not in seen:
        seen[value] = len(kept)
        kept.append(value)
    return seen[value]


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
