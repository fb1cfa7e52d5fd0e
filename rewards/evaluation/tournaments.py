"""Scores as arrays, and the fields of responses that play tournaments."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rewards.aggregate import AGGREGATES
from rewards.types import Group, Score


def has_steps(scores: Sequence[Sequence[Score]]) -> bool:
    """Whether these scores come with step values."""
    return any(score.steps is not None for row in scores for score in row)


def values(scores: Sequence[Sequence[Score]], aggregation: str | None = None) -> list[NDArray[np.float64]]:
    """The values, one (N,) array per problem, NaN for a failed score; `aggregation` recomputes them from the steps."""

    def value(score: Score) -> float:
        if not score.ok:
            return float("nan")
        if aggregation is None:
            return score.value
        return float(AGGREGATES[aggregation](score.steps)) if score.steps else float("nan")

    return [np.array([value(score) for score in row]) for row in scores]


@dataclass(frozen=True)
class Field:
    """The entrants of a tournament: the row of the problem, and the places of the responses that take part."""

    row: int
    places: tuple[int, ...]


def fields_of(groups: Sequence[Group], size: int, most: int, seed: int) -> list[Field]:
    """Up to `most` disjoint random fields of `size` responses for every problem: an unbiased sample for that size."""
    found = []
    for row, group in enumerate(groups):
        order = list(range(len(group.responses)))
        random.Random(f"{seed} {size} {row}").shuffle(order)
        starts = range(0, min(most, len(order) // size) * size, size)
        found += [Field(row, tuple(order[start : start + size])) for start in starts]
    return found


def field_groups(groups: Sequence[Group], fields: Sequence[Field]) -> Iterator[Group]:
    """The fields as groups to score."""
    for field in fields:
        group = groups[field.row]
        yield Group(group.problem, tuple(group.responses[place] for place in field.places))


def winner(scores: Sequence[Score]) -> int | None:
    """The place of the response that the tournament chose; None if it could not be played."""
    return next((place for place, one in enumerate(scores) if one.parts.get("winner")), None)
