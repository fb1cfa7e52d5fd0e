"""Rubrics: criteria that a judge checks one by one, and the score that their verdicts make."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from rewards.builder import nearest
from rewards.files.fields import kind_of
from rewards.judging.reading import key_of
from rewards.types import Score

NO_VERDICT = "no_verdict"
"""The part of a score that counts the criteria of weight 0 without a verdict."""


@dataclass(frozen=True)
class Criterion:
    """One criterion: a name, what to check, its weight, and the possible verdicts from worst to best.

    The verdicts are worth 0 to 1 in equal steps. A criterion of weight 0 is shown as a part of the score and not paid;
    a negative weight is subtracted.
    """

    name: str
    text: str
    weight: float = 1.0
    choices: tuple[str, ...] = ("no", "yes")

    def value(self, choice: object) -> float | None:
        """What a verdict is worth, in [0, 1]; None if it is not one of the choices. Case does not count."""
        if isinstance(choice, bool) or not isinstance(choice, str | int):
            return None
        keys = [key_of(one) for one in self.choices]
        said = key_of(str(choice))
        return keys.index(said) / (len(keys) - 1) if said in keys else None


Rubric = tuple[Criterion, ...]


def rubric_of(value: Any, key: str) -> Rubric:
    """The criteria in plain data: a list of objects with name, text, and perhaps weight and choices.

    Raises ValueError, in one line that begins with `key`, for anything else: no criteria, a name that occurs twice, an
    unknown field, a weight that is not a finite number, fewer than two choices, no criterion with a positive weight.
    """
    if not isinstance(value, list | tuple):
        raise ValueError(f"{key} must be a list of criteria, not {kind_of(value)}")
    if not value:
        raise ValueError(f"{key} has no criteria")
    found = tuple(_criterion(one, f"{key}[{place}]") for place, one in enumerate(value))
    twice = [name for name, count in Counter(key_of(one.name) for one in found).items() if count > 1]
    if twice:
        raise ValueError(f"{key} names the criterion {twice[0]!r} twice (case does not count)")
    if all(one.weight <= 0 for one in found):
        raise ValueError(f"{key} has no criterion with a positive weight, so nothing would be paid")
    return found


def score_of(rubric: Rubric, values: Mapping[str, float | str]) -> Score:
    """The score: sum of weight * value over all criteria / sum of the positive weights; at most 1.

    `values` has each criterion's value in [0, 1], or why there is none. The score fails if a criterion that is paid has
    none. Parts: the value of every criterion that has one, and `no_verdict`, how many criteria of weight 0 have none.
    """
    for one in rubric:
        value = values[one.name]
        if isinstance(value, str) and one.weight:
            return Score.failed(f"criterion {one.name}: {value}")
    known = {name: value for name, value in values.items() if not isinstance(value, str)}
    total = sum(one.weight * known[one.name] for one in rubric if one.weight)
    unread = float(len(values) - len(known))
    return Score.of(total / sum(max(0.0, one.weight) for one in rubric), parts={**known, NO_VERDICT: unread})


def described(rubric: Sequence[Criterion]) -> str:
    """The criteria for a prompt, one per line, with their choices from worst to best."""
    return "\n".join(
        f"- {one.name}: {' '.join(one.text.split())} (verdicts, worst to best: {', '.join(one.choices)})"
        for one in rubric
    )


def _criterion(value: Any, key: str) -> Criterion:
    if not isinstance(value, Mapping):
        raise ValueError(f"{key} must be an object with name and text, not {kind_of(value)}")
    known = [field.name for field in fields(Criterion)]
    for name in value:
        if name not in known:
            raise ValueError(f"{key} has an unknown field {name!r}{nearest(str(name), known)}")
    for name in ("name", "text"):
        if not isinstance(value.get(name), str) or not value[name].strip():
            raise ValueError(f"{key}.{name} must be text that is not empty, not {value.get(name)!r}")
    if key_of(value["name"]) == NO_VERDICT:
        raise ValueError(f"{key}.name must not be {NO_VERDICT}, which is a part of every score")
    return Criterion(
        " ".join(value["name"].split()),
        value["text"].strip(),
        _weight(value.get("weight", Criterion.weight), key),
        _choices(value.get("choices", Criterion.choices), key),
    )


def _weight(value: Any, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{key}.weight must be a finite number, not {value!r}")
    return float(value)


def _choices(value: Any, key: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or len(value) < 2:
        raise ValueError(f"{key}.choices must be at least two texts, from worst to best, not {value!r}")
    for one in value:
        if isinstance(one, bool):
            raise ValueError(f"{key}.choices must be texts, not {one!r}: in YAML, put yes and no in quotes")
        if not isinstance(one, str | int) or not str(one).strip():
            raise ValueError(f"{key}.choices must be texts that are not empty, not {one!r}")
    if len({key_of(str(one)) for one in value}) < len(value):
        raise ValueError(f"{key}.choices names a verdict twice (case does not count)")
    return tuple(" ".join(str(one).split()) for one in value)
