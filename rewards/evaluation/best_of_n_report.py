"""Best-of-N: accuracy by method and number of responses, and how far each reward can be trusted.

Methods are chances of a right choice, an array (problems, sizes) each; figures are their means over problems with
bootstrap intervals. Nothing here reads or scores anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rewards.evaluation.best_of_n import best_of, pass_at
from rewards.evaluation.intervals import Bootstrap, Estimate
from rewards.evaluation.options import EvaluationOptions
from rewards.evaluation.report import Report, Table
from rewards.evaluation.trust_tables import add_agreement, add_calibration, add_trust
from rewards.evaluation.voting import Class, exact, majority

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

ORACLE = "Pass@n (an oracle chooses)"
MAJORITY = "Majority"
NONE = Estimate(None)


@dataclass
class Field:
    """The problems of an evaluation, graded: P problems, an (N,) array or a list of N each.

    `classes` are final answers by number, `steps` whether each step of each response is right (None where unknown).
    """

    rights: list[Bools]
    classes: list[list[Class]]
    texts: list[list[str]]
    steps: list[tuple[tuple[bool, ...], ...] | None] = field(default_factory=list)

    @property
    def lengths(self) -> list[Floats]:
        """Characters of the responses."""
        return [np.array([len(text) for text in texts], dtype=np.float64) for texts in self.texts]


@dataclass
class Measured:
    """What the rewards said: values, (N,) a problem, NaN for a failed score; `own` by reward, as it is configured, and
    `values` by method, so that a process model stands there once for each aggregation.

    `chosen` holds what tournaments chose: (P, sizes) chances of a right choice by method, NaN where nothing was played.
    `steps` holds step values of the rewards that give them, by reward: a list of N tuples (or None) a problem.
    """

    own: dict[str, list[Floats]] = field(default_factory=dict)
    values: dict[str, list[Floats]] = field(default_factory=dict)
    chosen: dict[str, Floats] = field(default_factory=dict)
    steps: dict[str, list[list[tuple[float, ...] | None]]] = field(default_factory=dict)


def default_sizes(counts: Sequence[int]) -> tuple[int, ...]:
    """Powers of two up to the commonest number of responses, and that number."""
    most = Counter(counts).most_common(1)[0][0]
    return tuple(sorted({2**power for power in range(most.bit_length()) if 2**power <= most} | {most}))


def report(field: Field, measured: Measured, sizes: Sequence[int], options: EvaluationOptions, title: str) -> Report:
    """All tables of a best-of-N evaluation on problems that have at least max(sizes) responses each."""
    found = Report(title)
    bootstrap = options.bootstrap(len(field.rights))
    methods = chances(field, measured, sizes, options, found.notes)
    curves = {
        name: {size: bootstrap.mean(column) for size, column in zip(sizes, columns.T, strict=True)}
        for name, columns in methods.items()
        if not np.isnan(columns).any()
    }
    found.figures |= {"problems": len(field.rights), "sizes": list(sizes), "accuracy": curves}
    found.tables.append(
        Table(
            "Accuracy in percent by the number of responses chosen from",
            ["method", *(f"n = {size}" for size in sizes)],
            [[name, *points.values()] for name, points in curves.items()],
            f"{len(field.rights)} problems; [{options.level:.0%} interval, bootstrap over problems]",
        )
    )
    random = np.array([right.mean() for right in field.rights])
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
            [[name, *of.values()] for name, of in gains.items()],
        )
    )
    found.notes += missing_classes(field.rights) + falls(methods, sizes, bootstrap)
    if all(len(right) == len(field.rights[0]) <= 16 for right in field.rights):
        columns = np.stack(field.rights).mean(axis=0)
        found.figures["columns"] = columns.tolist()
        found.notes.append("right by place in the file: " + ", ".join(f"{100 * share:.1f}%" for share in columns))
    if any(not exact(len(right), size, options.subsets) for right in field.rights for size in sizes):
        found.notes.append(f"voting: {options.subsets} random subsets of a size where there are more than that")
    add_trust(measured.values, field.rights, field.lengths, bootstrap, found)
    _add_calibration(field, measured, found)
    add_agreement(measured.own, field.rights, field.texts, found)
    return found


def chances(
    field: Field, measured: Measured, sizes: Sequence[int], options: EvaluationOptions, notes: list[str]
) -> dict[str, Floats]:
    """For every method the chance of a right choice, (P, sizes): the bounds first, then each reward."""
    scored = {name: values for name, values in measured.values.items() if name not in measured.chosen}
    votes = {name: values for name, values in scored.items() if _can_vote(values)}
    notes += [f"{name}: no weighted majority, since scores are negative" for name in scored if name not in votes]
    rng = np.random.default_rng(options.seed)
    voted = []
    for row, (right, classes) in enumerate(zip(field.rights, field.classes, strict=True)):
        weights = [np.ones(len(right)), *(np.nan_to_num(values[row]) for values in votes.values())]
        voted.append(majority(classes, right, sizes, np.stack(weights, axis=1), rng, options.subsets))
    found = {
        ORACLE: np.stack([pass_at(right, sizes) for right in field.rights]),
        MAJORITY: np.stack(voted)[:, :, 0],
    }
    for name, values in scored.items():
        ranked = [np.where(np.isnan(one), -np.inf, one) for one in values]
        found[name] = np.stack(
            [best_of(one, right, sizes, options.ties) for one, right in zip(ranked, field.rights, strict=True)]
        )
        if name in votes:
            found[f"{name}, weighted majority"] = np.stack(voted)[:, :, 1 + list(votes).index(name)]
    return found | measured.chosen


def missing_classes(rights: Sequence[Bools]) -> list[str]:
    """A warning where all responses are right, or all wrong."""
    shares = {bool(right) for one in rights for right in one}
    if len(shares) == 2:
        return []
    kind = "wrong" if shares == {True} else "right"
    return [f"WARNING: there is no {kind} response among these: nothing can tell the methods and rewards apart"]


def falls(methods: Mapping[str, Floats], sizes: Sequence[int], bootstrap: Bootstrap) -> list[str]:
    """A warning for every method that chooses worse among the most responses than among fewer, beyond its interval.

    The more there is to choose from, the likelier a wrong response that the reward scores highest: selection exploits a
    reward's mistakes as training does (Gao et al., arXiv 2210.10760), and AUC does not show it.
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
                f"WARNING, {name}: {means[peak]:.1%} right at n = {sizes[peak]} falls to {means[-1]:.1%} at "
                f"n = {sizes[-1]}: choosing harder by it exploits its mistakes"
            )
    return lines


def _can_vote(values: Sequence[Floats]) -> bool:
    return all((one[~np.isnan(one)] >= 0).all() for one in values)


def _add_calibration(field: Field, measured: Measured, found: Report) -> None:
    """Calibration of every reward whose values are probabilities, and of step values where the steps are verified."""
    pooled: dict[str, tuple[list[float], list[bool]]] = {}
    for name, values in measured.own.items():
        scores, rights = np.concatenate(values), np.concatenate(field.rights)
        kept = ~np.isnan(scores)
        inside = ((scores[kept] >= 0) & (scores[kept] <= 1)).all()
        if kept.any() and inside and name not in (*measured.chosen, *measured.steps):
            pooled[f"{name}: response right"] = (scores[kept].tolist(), rights[kept].tolist())
    for name, rows in measured.steps.items():
        known = [
            (score, right)
            for row, labels in zip(rows, field.steps, strict=True)
            for scores_of, truth in zip(row, labels or (), strict=labels is not None)
            if scores_of is not None and len(scores_of) == len(truth)
            for score, right in zip(scores_of, truth, strict=True)
        ]
        if known and all(0 <= score <= 1 for score, _ in known):
            pooled[f"{name}: step right"] = ([score for score, _ in known], [right for _, right in known])
    add_calibration(pooled, found)
