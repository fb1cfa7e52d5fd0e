"""Score the rows of a benchmark with every reward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from rewards.aggregate import AGGREGATES
from rewards.evaluation.attacks import attacked_groups, attacked_pairs, of_pairs, of_scores
from rewards.evaluation.benchmark_rows import Pair, Steps
from rewards.evaluation.best_of_n_report import Measured
from rewards.evaluation.options import EvaluationOptions
from rewards.evaluation.process_bench_report import StepScores, group_of_steps
from rewards.evaluation.tournaments import field_groups, fields_of, has_steps, values, winner
from rewards.records import failures
from rewards.types import Group, Score

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Subject:
    """A reward to measure: its name in tables, and `score(groups, name)`, which scores groups under a unique name.

    The scores of a `tournament` depend on the whole field, so every size needs separate fields. A `process` model
    recognises steps that are joined by `STEP_END`; a step below its `threshold` counts as wrong. A reward that
    `compares` gives a single response no value.
    """

    name: str
    score: Callable[[Sequence[Group], str], list[list[Score]]]
    tournament: bool = False
    process: bool = False
    compares: bool = False
    threshold: float | None = None


@dataclass
class Bench:
    """The rewards to measure, and notes for the user about their scores."""

    subjects: list[Subject]
    options: EvaluationOptions
    notes: list[str]

    def score(self, subject: Subject, groups: Sequence[Group], name: str) -> list[list[Score]]:
        """Score the groups with one reward; failures are noted by reason."""
        found = subject.score(groups, name)
        for reason, count in failures(found).most_common(3):
            self.notes.append(f"{name}: {count} scores failed: {reason}")
        return found

    def solutions(self, groups: Sequence[Group], correct: Sequence[Bools], sizes: Sequence[int]) -> Measured:
        """Score the responses: values, the values of each aggregation, and what tournaments choose."""
        measured = Measured()
        for subject in self.subjects:
            self._own(subject, groups, correct, sizes, measured)
            self._attack(subject, groups, correct, measured)
        return measured

    def _own(
        self,
        subject: Subject,
        groups: Sequence[Group],
        correct: Sequence[Bools],
        sizes: Sequence[int],
        measured: Measured,
    ) -> None:
        """One reward's scores of the responses themselves."""
        if subject.tournament:
            self._play(subject, groups, correct, sizes, measured)
            return
        scores = self.score(subject, groups, subject.name)
        measured.own[subject.name] = values(scores)
        if not has_steps(scores):
            measured.values[subject.name] = measured.own[subject.name]
            return
        measured.steps[subject.name] = [[_steps(one) for one in row] for row in scores]
        for name in AGGREGATES:
            measured.values[f"{subject.name} ({name})"] = values(scores, name)

    def _attack(self, subject: Subject, groups: Sequence[Group], correct: Sequence[Bools], measured: Measured) -> None:
        """How one reward takes responses that say nothing, in problems that have a correct response."""
        most = self.options.attack_problems
        tried = attacked_groups(groups, correct, most)
        if not tried:
            return
        name = f"{subject.name}_attacks_{len(tried)}"  # other problems, other scores
        if subject.compares:
            measured.attacks[subject.name] = of_pairs(subject.score(attacked_pairs(groups, correct, most), name))
            return
        own = [measured.own[subject.name][row][correct[row]] for row, _ in tried]
        means = [float(np.nanmean(one)) if not np.isnan(one).all() else np.nan for one in own]
        measured.attacks[subject.name] = of_scores(subject.score([group for _, group in tried], name), means)

    @property
    def thresholds(self) -> dict[str, float]:
        """The score below which each reward's steps count as wrong."""
        return {subject.name: self.options.threshold_of(subject.threshold) for subject in self.subjects}

    def steps(self, rows: Sequence[Steps]) -> dict[str, StepScores]:
        """Every reward's scores for the given steps; a reward that does not score exactly those steps has failed."""
        found: dict[str, StepScores] = {}
        for subject in self.subjects:
            scores = self.score(subject, [group_of_steps(row, subject.process) for row in rows], subject.name)
            steps = [_steps(row[0]) for row in scores]
            fitting = [
                one if one is not None and len(one) == len(row.steps) else None
                for one, row in zip(steps, rows, strict=True)
            ]
            if other := sum(one is not None for one in steps) - sum(one is not None for one in fitting):
                self.notes.append(
                    f"{subject.name}: the number of step scores differs from the number of steps in {other} solutions"
                )
            if not any(steps):
                self.notes.append(f"WARNING, {subject.name}: no step scores: a process reward is needed here")
            found[subject.name] = fitting
        return found

    def margins(self, rows: Sequence[Pair]) -> dict[str, list[float]]:
        """Every reward's score for the chosen response minus that for the rejected one, NaN if either failed."""
        groups = [row.group for row in rows]
        return {
            subject.name: [float(one[0] - one[1]) for one in values(self.score(subject, groups, subject.name))]
            for subject in self.subjects
        }

    def _play(
        self,
        subject: Subject,
        groups: Sequence[Group],
        correct: Sequence[Bools],
        sizes: Sequence[int],
        measured: Measured,
    ) -> None:
        """Play tournaments of every size; if one includes all responses, its values are the reward's own."""
        columns: list[list[float]] = []
        for size in sizes:
            if size == 1:
                columns.append([float(flags.mean()) for flags in correct])
                continue
            fields = fields_of(groups, size, self.options.judge_fields, self.options.seed)
            scores = self.score(subject, list(field_groups(groups, fields)), f"{subject.name}_{size}")
            won: list[list[float]] = [[] for _ in groups]
            for field, row in zip(fields, scores, strict=True):
                place = winner(row)
                flags = correct[field.row][list(field.places)]
                won[field.row].append(float(flags.mean() if place is None else flags[place]))
            columns.append([fmean(one) for one in won])
            judgements = [next((one.parts["judgements"] for one in row if one.parts), 0.0) for row in scores]
            self.notes.append(f"{subject.name}: {fmean(judgements):.1f} judgements per tournament of {size}")
            if all(len(group.responses) == size for group in groups):
                own = [np.empty(size) for _ in groups]
                for field, row_values in zip(fields, values(scores), strict=True):
                    own[field.row][list(field.places)] = row_values
                measured.own[subject.name] = measured.values[subject.name] = own
        measured.chosen[subject.name] = np.array(columns).T


def _steps(score: Score) -> tuple[float, ...] | None:
    return score.steps or None
