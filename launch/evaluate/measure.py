"""From rewards and rows to what each reward says of them; everything scored is kept in the evaluation's folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from launch.evaluate.best_of_n import Measured
from launch.evaluate.process_bench import StepScores, group_of_steps
from launch.evaluate.rows import Pair, Steps
from launch.evaluate.scores import (
    Entry,
    field_groups,
    fields_of,
    file_name,
    has_steps,
    score,
    values,
    winner,
)
from launch.evaluate.settings import EvaluateSettings
from rewards.aggregate import AGGREGATES
from rewards.records import failures
from rewards.types import Group, Reward, Score

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass
class Bench:
    """The rewards to measure, where their scores go, and what there is to say of them."""

    rewards: list[tuple[Entry, Reward]]
    folder: Path
    settings: EvaluateSettings
    console: Console
    notes: list[str]

    def scores(self, groups: Sequence[Group]) -> Iterator[tuple[Entry, list[list[Score]]]]:
        """Every reward's scores of the groups."""
        for entry, reward in self.rewards:
            yield entry, self.score(entry, reward, groups, entry.label)

    def score(self, entry: Entry, reward: Reward, groups: Sequence[Group], name: str) -> list[list[Score]]:
        """One reward's scores of the groups, in the file `name`; failures are noted by reason."""
        found = score(entry, reward, groups, file_name(name), self.folder, self.settings.batch, self.console)
        for reason, count in failures(found).most_common(3):
            self.notes.append(f"{name}: {count} scores failed: {reason}")
        return found

    def solutions(self, groups: Sequence[Group], rights: Sequence[Bools], sizes: Sequence[int]) -> Measured:
        """What the rewards say of the responses: values, the values of each aggregation, what tournaments choose."""
        measured = Measured()
        for entry, reward in self.rewards:
            if entry.tournament:
                self._play(entry, reward, groups, rights, sizes, measured)
                continue
            scores = self.score(entry, reward, groups, entry.label)
            measured.own[entry.label] = values(scores)
            if not has_steps(scores):
                measured.values[entry.label] = measured.own[entry.label]
                continue
            measured.steps[entry.label] = [[_steps(one) for one in row] for row in scores]
            for name in AGGREGATES:
                measured.values[f"{entry.label} ({name})"] = values(scores, name)
        return measured

    def steps(self, rows: Sequence[Steps]) -> dict[str, StepScores]:
        """Every reward's scores of the given steps; a reward that does not score exactly those has failed there."""
        found: dict[str, StepScores] = {}
        for entry, reward in self.rewards:
            scores = self.score(entry, reward, [group_of_steps(row, entry.process) for row in rows], entry.label)
            steps = [_steps(row[0]) for row in scores]
            fitting = [
                one if one is not None and len(one) == len(row.steps) else None
                for one, row in zip(steps, rows, strict=True)
            ]
            if other := sum(one is not None for one in steps) - sum(one is not None for one in fitting):
                self.notes.append(
                    f"{entry.label}: {other} solutions got another number of step scores than they have steps"
                )
            if not any(steps):
                self.notes.append(f"WARNING, {entry.label}: no step scores: a process reward is needed here")
            found[entry.label] = fitting
        return found

    def margins(self, rows: Sequence[Pair]) -> dict[str, list[float]]:
        """Every reward's score of the chosen minus that of the rejected response, NaN where one failed."""
        return {
            entry.label: [float(one[0] - one[1]) for one in values(scores)]
            for entry, scores in self.scores([row.group for row in rows])
        }

    def _play(
        self,
        entry: Entry,
        reward: Reward,
        groups: Sequence[Group],
        rights: Sequence[Bools],
        sizes: Sequence[int],
        measured: Measured,
    ) -> None:
        """Tournaments of every size; the values of those that held all responses count as the reward's own."""
        columns: list[list[float]] = []
        for size in sizes:
            if size == 1:
                columns.append([float(right.mean()) for right in rights])
                continue
            fields = fields_of(groups, size, self.settings.judge_fields, self.settings.seed)
            scores = self.score(entry, reward, list(field_groups(groups, fields)), f"{entry.label}_{size}")
            won: list[list[float]] = [[] for _ in groups]
            for field, row in zip(fields, scores, strict=True):
                place = winner(row)
                of = rights[field.row][list(field.places)]
                won[field.row].append(float(of.mean() if place is None else of[place]))
            columns.append([fmean(one) for one in won])
            judgements = [next((one.parts["judgements"] for one in row if one.parts), 0.0) for row in scores]
            self.notes.append(f"{entry.label}: {fmean(judgements):.1f} judgements a tournament of {size}")
            if all(len(group.responses) == size for group in groups):
                own = [np.empty(size) for _ in groups]
                for field, row_values in zip(fields, values(scores), strict=True):
                    own[field.row][list(field.places)] = row_values
                measured.own[entry.label] = measured.values[entry.label] = own
        measured.chosen[entry.label] = np.array(columns).T


def _steps(score: Score) -> tuple[float, ...] | None:
    return score.steps or None
