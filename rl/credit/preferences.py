"""Turn the scores of a group into preference pairs for DPO. Pure functions.

Rows are rows of the batch: response j of group i is row i * n + j. Two scores that differ by less than `TIE` are a tie;
ties are dropped and counted. Failed scores are never in a pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from rewards.types import Score

TIE = 1e-6
"""Scores that differ by less are equal up to rounding. Relative to the larger score if that is above 1."""


@dataclass(frozen=True)
class Pairs:
    """P preferences: row `chosen[k]` of the batch is better than row `rejected[k]` by `margins[k]`.

    `counts`: `pairs`; `ties_dropped` (compared pairs that were equal); `below_margin` (different, but not by enough);
    `groups_without_pair`.
    """

    chosen: Tensor  # int64 (P,)
    rejected: Tensor  # int64 (P,)
    margins: Tensor  # float32 (P,), the difference of the scores
    counts: dict[str, float]

    def __len__(self) -> int:
        return len(self.chosen)


def best_against_worst(values: Tensor, mask: Tensor) -> Pairs:
    """One pair per group: its best response over its worst (RLHFlow's online iterative DPO, arXiv:2405.07863).

    values, mask: (G, n). Among equal responses the first is taken. A group whose best and worst tie gives no pair.
    """
    found = _PairCollector(len(values))
    for group, row, present in zip(range(len(values)), values.tolist(), mask.tolist(), strict=True):
        places = [place for place, there in enumerate(present) if there]
        if len(places) >= 2:
            best = max(places, key=lambda place: row[place])
            worst = min(places, key=lambda place: row[place])
            found.compare(group, best, worst, row)
    return found.pairs(values.shape[1])


def all_above_margin(values: Tensor, mask: Tensor, margin: float) -> Pairs:
    """Every pair of a group whose scores differ by more than `margin` (>= 0, in units of the score).

    values, mask: (G, n). Up to n (n - 1) / 2 pairs per group. Raises ValueError for a negative margin.
    """
    if margin < 0:
        raise ValueError(f"the margin of preference pairs must not be negative, not {margin}")
    found = _PairCollector(len(values), margin)
    for group, row, present in zip(range(len(values)), values.tolist(), mask.tolist(), strict=True):
        for a, b in combinations([place for place, there in enumerate(present) if there], 2):
            better, worse = (a, b) if row[a] >= row[b] else (b, a)
            found.compare(group, better, worse, row)
    return found.pairs(values.shape[1])


def by_judge(scores: Sequence[Sequence[Score]]) -> Pairs:
    """Every pair that the judge compared and did not find equal: the winner over the loser (`Score.matches`).

    scores: G groups of n. The margin is the difference of the values; it is negative if the tournament ranked the loser
    of this match higher. Responses with equal texts count once. Raises ValueError for scores without match results.
    """
    found = _PairCollector(len(scores))
    for group, row in enumerate(scores):
        for place, score in enumerate(row):
            if not score.ok:
                continue
            if score.matches is None:
                raise ValueError("pairs by the judge need a reward that compares responses, such as reward=pairjudge")
            for other, points in score.matches.items():
                if row[other].ok and points > 0.5:
                    found.add(group, place, other, score.value - row[other].value)
                elif row[other].ok and points == 0.5 and place < other:
                    found.ties += 1
    return found.pairs(len(scores[0]) if scores else 0)


class _PairCollector:
    """Collects the pairs of G groups."""

    def __init__(self, groups: int, margin: float = 0.0) -> None:
        self.groups, self.margin = groups, margin
        self.found: list[tuple[int, int, int, float]] = []
        self.ties = self.below_margin = 0

    def compare(self, group: int, better: int, worse: int, row: Sequence[float]) -> None:
        """Add the pair unless it is a tie or within the margin."""
        difference = row[better] - row[worse]
        if difference <= TIE * max(1.0, abs(row[better]), abs(row[worse])):
            self.ties += 1
        elif difference <= self.margin:
            self.below_margin += 1
        else:
            self.add(group, better, worse, difference)

    def add(self, group: int, better: int, worse: int, margin: float) -> None:
        self.found.append((group, better, worse, margin))

    def pairs(self, size: int) -> Pairs:
        """The collected pairs as batch rows, for groups of `size`."""
        chosen = [group * size + better for group, better, _, _ in self.found]
        rejected = [group * size + worse for group, _, worse, _ in self.found]
        counts = {
            "pairs": float(len(self.found)),
            "ties_dropped": float(self.ties),
            "below_margin": float(self.below_margin),
            "groups_without_pair": float(self.groups - len({group for group, *_ in self.found})),
        }
        return Pairs(
            torch.tensor(chosen, dtype=torch.int64),
            torch.tensor(rejected, dtype=torch.int64),
            torch.tensor([margin for *_, margin in self.found], dtype=torch.float32),
            counts,
        )
