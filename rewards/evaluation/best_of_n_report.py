"""The best-of-N report: accuracy by method and number of responses, and how far each reward can be trusted.

A method is an array (problems, sizes) with the chance that its choice is correct; figures are means over problems with
bootstrap intervals. Nothing here reads files or scores responses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rewards.evaluation.attacks import Attacked
from rewards.evaluation.best_of_n import best_of, pass_at
from rewards.evaluation.intervals import Bootstrap, Estimate
from rewards.evaluation.options import EvaluationOptions
from rewards.evaluation.report import Report, Table
from rewards.evaluation.trust_tables import add_agreement, add_attacks, add_calibration, add_trust
from rewards.evaluation.voting import Class, exact, majority

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

ORACLE = "Pass@n (an oracle chooses)"
MAJORITY = "Majority"
NONE = Estimate(None)


@dataclass
class GradedProblems:
    """The P problems of an evaluation with the grades of their N responses each.

    `correct` has one (N,) array per problem and `texts` one list; `classes` numbers the final answers, equal answers
    alike; `steps` says whether each step of each response is correct (None if unknown).
    """

    correct: list[Bools]
    classes: list[list[Class]]
    texts: list[list[str]]
    steps: list[tuple[tuple[bool, ...], ...] | None] = field(default_factory=list)

    @property
    def lengths(self) -> list[Floats]:
        """The responses' lengths in characters."""
        return [np.array([len(text) for text in texts], dtype=np.float64) for texts in self.texts]


@dataclass
class Measured:
    """The scores that the rewards gave: one (N,) array per problem, NaN for a failed score.

    `own` has the values of each reward as it is configured; `values` has them by method, with one method per
    aggregation for a process model. `chosen` has the chance that a tournament's choice is correct, (P, sizes) by
    method, NaN if it was not played. `steps` has the step values of rewards that give them: per problem, a list of N
    tuples (or None). `attacks` says how each reward took texts that say nothing.
    """

    own: dict[str, list[Floats]] = field(default_factory=dict)
    values: dict[str, list[Floats]] = field(default_factory=dict)
    chosen: dict[str, Floats] = field(default_factory=dict)
    steps: dict[str, list[list[tuple[float, ...] | None]]] = field(default_factory=dict)
    attacks: dict[str, list[Attacked]] = field(default_factory=dict)


def default_sizes(counts: Sequence[int]) -> tuple[int, ...]:
    """Powers of two up to the most common number of responses, and that number itself."""
    most = Counter(counts).most_common(1)[0][0]
    return tuple(sorted({2**power for power in range(most.bit_length()) if 2**power <= most} | {most}))


def report(
    graded: GradedProblems, measured: Measured, sizes: Sequence[int], options: EvaluationOptions, title: str
) -> Report:
    """All tables of a best-of-N evaluation; every problem must have at least max(sizes) responses."""
    found = Report(title)
    bootstrap = options.bootstrap(len(graded.correct))
    methods = chances(graded, measured, sizes, options, found.notes)
    curves = {
        name: {size: bootstrap.mean(column) for size, column in zip(sizes, columns.T, strict=True)}
        for name, columns in methods.items()
        if not np.isnan(columns).any()
    }
    found.figures |= {"problems": len(graded.correct), "sizes": list(sizes), "accuracy": curves}
    found.tables.append(
        Table(
            "Accuracy in percent by the number of responses chosen from",
            ["method", *(f"n = {size}" for size in sizes)],
            [[name, *points.values()] for name, points in curves.items()],
            f"{len(graded.correct)} problems; [{options.level:.0%} interval, bootstrap over problems]",
        )
    )
    random = np.array([flags.mean() for flags in graded.correct])
    gains = {
        name: {
            "over a random response": bootstrap.mean(methods[name][:, -1] - random),
            "over majority": NONE
            if name == MAJORITY
            else bootstrap.mean(methods[name][:, -1] - methods[MAJORITY][:, -1]),
        }
        for name in curves
    }
    found.figures["gains"] = gains
    found.tables.append(
        Table(
            f"Gain in percentage points at n = {sizes[-1]}, paired by problem",
            ["method", "over a random response", "over majority"],
            [[name, *row.values()] for name, row in gains.items()],
        )
    )
    found.notes += missing_classes(graded.correct) + falls(methods, sizes, bootstrap)
    if all(len(flags) == len(graded.correct[0]) <= 16 for flags in graded.correct):
        columns = np.stack(graded.correct).mean(axis=0)
        found.figures["columns"] = columns.tolist()
        found.notes.append("correct by place in the file: " + ", ".join(f"{100 * share:.1f}%" for share in columns))
    if any(not exact(len(flags), size, options.subsets) for flags in graded.correct for size in sizes):
        found.notes.append(f"voting: if a size has more than {options.subsets} subsets, that many random ones are used")
    add_trust(measured.values, graded.correct, graded.lengths, bootstrap, found)
    add_attacks(measured.attacks, found)
    _add_calibration(graded, measured, found)
    add_agreement(measured.own, graded.correct, graded.texts, found)
    return found


def chances(
    graded: GradedProblems, measured: Measured, sizes: Sequence[int], options: EvaluationOptions, notes: list[str]
) -> dict[str, Floats]:
    """The chance that each method's choice is correct, (P, sizes): first the bounds, then each reward."""
    scored = {name: values for name, values in measured.values.items() if name not in measured.chosen}
    votes = {name: values for name, values in scored.items() if _can_vote(values)}
    notes += [f"{name}: no weighted majority, since scores are negative" for name in scored if name not in votes]
    rng = np.random.default_rng(options.seed)
    voted = []
    for row, (flags, classes) in enumerate(zip(graded.correct, graded.classes, strict=True)):
        weights = [np.ones(len(flags)), *(np.nan_to_num(values[row]) for values in votes.values())]
        voted.append(majority(classes, flags, sizes, np.stack(weights, axis=1), rng, options.subsets))
    found = {
        ORACLE: np.stack([pass_at(flags, sizes) for flags in graded.correct]),
        MAJORITY: np.stack(voted)[:, :, 0],
    }
    for name, values in scored.items():
        ranked = [np.where(np.isnan(one), -np.inf, one) for one in values]
        found[name] = np.stack(
            [best_of(one, flags, sizes, options.ties) for one, flags in zip(ranked, graded.correct, strict=True)]
        )
        if name in votes:
            found[f"{name}, weighted majority"] = np.stack(voted)[:, :, 1 + list(votes).index(name)]
    return found | measured.chosen


def missing_classes(correct: Sequence[Bools]) -> list[str]:
    """A warning if all responses are correct, or all are incorrect."""
    kinds = {bool(flag) for flags in correct for flag in flags}
    if len(kinds) == 2:
        return []
    missing = "incorrect" if kinds == {True} else "correct"
    return [f"WARNING: there is no {missing} response among these, so the methods and rewards cannot be compared"]


def falls(methods: Mapping[str, Floats], sizes: Sequence[int], bootstrap: Bootstrap) -> list[str]:
    """A warning for every method that chooses significantly worse among the most responses than among fewer.

    With more responses to choose from, it becomes more likely that the reward scores an incorrect one highest:
    selection exploits a reward's mistakes as training does (Gao et al., arXiv 2210.10760), and AUC does not show it.
    """
    lines = []
    for name, columns in methods.items():
        if np.isnan(columns).any():
            continue
        means = columns.mean(axis=0)
        peak = int(means.argmax())
        change = bootstrap.mean(columns[:, -1] - columns[:, peak])
        if change.high is not None and change.high < 0:
            lines.append(
                f"WARNING, {name}: {means[peak]:.1%} correct at n = {sizes[peak]} falls to {means[-1]:.1%} at "
                f"n = {sizes[-1]}: stronger selection exploits its mistakes"
            )
    return lines


def _can_vote(values: Sequence[Floats]) -> bool:
    return all((one[~np.isnan(one)] >= 0).all() for one in values)


def _add_calibration(graded: GradedProblems, measured: Measured, found: Report) -> None:
    """Calibration of every reward whose values are probabilities, and of step values if the steps are verified."""
    pooled: dict[str, tuple[list[float], list[bool]]] = {}
    for name, values in measured.own.items():
        scores, correct = np.concatenate(values), np.concatenate(graded.correct)
        kept = ~np.isnan(scores)
        inside = ((scores[kept] >= 0) & (scores[kept] <= 1)).all()
        if kept.any() and inside and name not in (*measured.chosen, *measured.steps):
            pooled[f"{name}: response right"] = (scores[kept].tolist(), correct[kept].tolist())
    for name, rows in measured.steps.items():
        known = [
            (score, flag)
            for row, labels in zip(rows, graded.steps, strict=True)
            for values_of_steps, flags in zip(row, labels or (), strict=labels is not None)
            if values_of_steps is not None and len(values_of_steps) == len(flags)
            for score, flag in zip(values_of_steps, flags, strict=True)
        ]
        if known and all(0 <= score <= 1 for score, _ in known):
            pooled[f"{name}: step right"] = ([score for score, _ in known], [flag for _, flag in known])
    add_calibration(pooled, found)
