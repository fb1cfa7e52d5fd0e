"""The RewardBench report: accuracy by subset and section, and overall with both XSTest counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rewards.builder import ConfigurationError
from rewards.evaluation.benchmark_rows import Pair
from rewards.evaluation.options import EvaluationOptions
from rewards.evaluation.report import Cell, Percent, Report, Table
from rewards.evaluation.reward_bench import COUNTINGS, reward_bench, subset_accuracy
from rewards.files.lines import json_value

Margins = Sequence[float]
"""For each pair, the chosen response's score minus the rejected one's; NaN if either failed."""


@dataclass(frozen=True)
class Accuracy:
    """A subset and its accuracy, the share of its pairs that were won, in [0, 1]."""

    subset: str
    value: float


def given_accuracies(path: Path) -> list[Accuracy] | None:
    """The accuracies by subset in a file that is one JSON object of numbers; None for any other file.

    Raises ConfigurationError for an accuracy outside [0, 1].
    """
    try:
        content = json_value(path.read_text(encoding="utf-8"))
    except ValueError:
        return None
    if not isinstance(content, dict) or not content or not all(isinstance(x, int | float) for x in content.values()):
        return None
    bad = next((name for name, value in content.items() if not 0 <= value <= 1), None)
    if bad is not None:
        raise ConfigurationError(f"input {path}: subset {bad}: an accuracy must be in [0, 1], not {content[bad]}")
    return [Accuracy(name, float(value)) for name, value in content.items()]


def report_given(name: str, accuracies: Sequence[Accuracy]) -> Report:
    """Sections from accuracies that were measured elsewhere."""
    found = Report("RewardBench from given accuracies")
    add_sections({name: {one.subset: one.value for one in accuracies}}, found)
    return found


def report(rows: Sequence[Pair], margins: Mapping[str, Margins], options: EvaluationOptions) -> Report:
    """The figures of every reward from its margins: first each subset with its interval, then the sections."""
    found = Report("RewardBench")
    subsets = sorted({row.subset for row in rows}, key=[row.subset for row in rows].index)
    accuracies: dict[str, dict[str, float]] = {}
    lines = [[name] for name in subsets]
    for reward, values in margins.items():
        accuracies[reward] = {}
        for subset, line in zip(subsets, lines, strict=True):
            won = np.array([value > 0 for value, row in zip(values, rows, strict=True) if row.subset == subset])
            accuracies[reward][subset] = subset_accuracy(int(won.sum()), len(won))
            line.append(options.bootstrap(len(won)).mean(won.astype(np.float64)))  # type: ignore[arg-type]
        ties, failed = sum(value == 0 for value in values), int(np.isnan(values).sum())
        if ties or failed:
            found.notes.append(f"{reward}: {ties} ties and {failed} pairs with a failed score, which count as not won")
    counts = Counter(row.subset for row in rows)
    found.tables.append(
        Table(
            "RewardBench by subset, in percent",
            ["subset", "pairs", *margins],
            [[line[0], counts[line[0]], *line[1:]] for line in lines],
            f"[{options.level:.0%} interval, bootstrap over pairs]",
        )
    )
    add_sections(accuracies, found)
    return found


def add_sections(accuracies: Mapping[str, Mapping[str, float]], found: Report) -> None:
    """Add sections and overall figures, computed from each reward's accuracies by subset, and note what is missing."""
    figures: dict[str, dict[str, object]] = {}
    rows: list[list[Cell | Percent]] = []
    for reward, by_subset in accuracies.items():
        figures[reward] = {"subsets": by_subset}
        for counting in COUNTINGS:
            one = reward_bench(by_subset, counting)
            figures[reward][counting] = {"sections": one.sections, "overall": one.overall}
            rows.append([reward, counting, *map(Percent, one.sections.values()), Percent(one.overall)])
        if one.overall is not None and not one.with_prior:
            found.notes.append(f"{reward}: the overall figure is that of the four sections, without the prior sets")
        if one.missing:
            found.notes.append(f"{reward}: missing subsets: {', '.join(one.missing)}")
        if one.unknown:
            found.notes.append(f"{reward}: WARNING: subsets that belong to no section: {', '.join(one.unknown)}")
    found.figures["reward_bench"] = figures
    columns = ["reward", "XSTest counting", "Chat", "Chat Hard", "Safety", "Reasoning", "Prior Sets", "overall"]
    note = (
        "XSTest counting: today's weights are 154 pairs to refuse and 250 to respond to; exchanged, as in the figures "
        "published in 2024, they are 250 and 154."
    )
    found.tables.append(Table("RewardBench by section, in percent", columns, rows, note))
