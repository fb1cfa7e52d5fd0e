"""The kinds of evaluation: how each reads and checks its input before anything starts, and how it makes its report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launch.evaluate.evaluate_settings import EvaluateSettings
from rewards.builder import ConfigurationError
from rewards.evaluation import best_of_n_report, process_bench_report, reward_bench_report
from rewards.evaluation.benchmark_rows import (
    PAIR_FIELDS,
    SOLUTION_FIELDS,
    STEP_FIELDS,
    Pair,
    Solutions,
    Steps,
    parse_pair,
    parse_solutions,
    parse_steps,
)
from rewards.evaluation.grading import Grader
from rewards.evaluation.measure import Bench
from rewards.evaluation.plot import plot
from rewards.evaluation.report import Report
from rewards.evaluation.reward_bench_report import Accuracy
from rewards.files.rows import Row, Rows, read_rows


def read_solutions(path: Path, settings: EvaluateSettings) -> Rows[Solutions]:
    """Read a best-of-N file. Raises ConfigurationError if no row can be used, or none has enough responses for `n`."""
    found = usable(read_rows(path, parse_solutions, SOLUTION_FIELDS, settings.fields), settings)
    most = max(len(row.texts) for row in found.rows)
    if settings.n and max(settings.n) > most:
        raise ConfigurationError(
            f"n={max(settings.n)}: no problem of {path} has that many responses, the most is {most}; "
            f"give smaller sizes as n=[1,{most}]"
        )
    return found


def of_solutions(found: Rows[Solutions], settings: EvaluateSettings, folder: Path, bench: Bench) -> Report:
    """Grade and score the responses, and make tables and a plot."""
    sizes = settings.n or best_of_n_report.default_sizes([len(row.texts) for row in found.rows])
    rows = large_enough(found.rows, max(sizes), bench.notes)
    grader = Grader()
    graded = grader.grade(rows)
    grader.write(folder / "disagreements.jsonl")
    bench.notes += grader.notes()
    measured = bench.solutions([row.group for row in rows], graded.correct, sizes)
    title = "Best of N: " + (found.path.name if settings.input else "the policy's own samples")
    report = best_of_n_report.report(graded, measured, sizes, settings, title)
    curves = {
        name: points for name, points in report.figures["accuracy"].items() if not name.endswith("weighted majority")
    }
    bounds = [best_of_n_report.ORACLE, best_of_n_report.MAJORITY]
    plot(curves, bounds, f"{title}, {len(rows)} problems", folder / "accuracy.png")
    return report


def read_steps(path: Path, settings: EvaluateSettings) -> Rows[Steps]:
    """Read a file in ProcessBench's form. Raises ConfigurationError if no row can be used."""
    return usable(read_rows(path, parse_steps, STEP_FIELDS, settings.fields), settings)


def of_steps(found: Rows[Steps], settings: EvaluateSettings, folder: Path, bench: Bench) -> Report:
    """Score the steps of ProcessBench's rows."""
    return process_bench_report.report(found.rows, bench.steps(found.rows), bench.thresholds, settings)


def read_pairs(path: Path, settings: EvaluateSettings) -> Rows[Pair] | Rows[Accuracy]:
    """Read pairs, or accuracies by subset.

    Raises ConfigurationError if no row can be used, for pairs without a reward, and for accuracies with one.
    """
    given = reward_bench_report.given_accuracies(path)
    if given is not None:
        if settings.rewards:
            raise ConfigurationError(f"rewards must be empty: input {path} contains accuracies, not pairs to score")
        return Rows(path, given)
    if not settings.rewards:
        raise ConfigurationError("rewards is empty: name the rewards that score the pairs, as in rewards=[armorm]")
    return usable(read_rows(path, parse_pair, PAIR_FIELDS, settings.fields), settings)


def of_pairs(found: Rows[Pair] | Rows[Accuracy], settings: EvaluateSettings, folder: Path, bench: Bench) -> Report:
    """Score RewardBench's pairs, or report the accuracies by subset that the input contains."""
    pairs = [row for row in found.rows if isinstance(row, Pair)]
    if pairs:
        return reward_bench_report.report(pairs, bench.margins(pairs), settings)
    return reward_bench_report.report_given(found.path.stem, [row for row in found.rows if isinstance(row, Accuracy)])


@dataclass(frozen=True)
class Kind:
    """How a kind reads and checks its input, and how it makes its report."""

    read: Callable[[Path, EvaluateSettings], Any]
    report: Callable[[Any, EvaluateSettings, Path, Bench], Report]


KINDS = {
    "best_of_n": Kind(read_solutions, of_solutions),
    "process_bench": Kind(read_steps, of_steps),
    "reward_bench": Kind(read_pairs, of_pairs),
}


def usable(found: Rows[Row], settings: EvaluateSettings) -> Rows[Row]:
    """The same rows. Raises ConfigurationError with the first reason if none of them can be used."""
    if not found.rows:
        why = f": line {found.rejects[0].line}: {found.rejects[0].reason}" if found.rejects else " at all"
        raise ConfigurationError(f"input {found.path} has no usable row for kind={settings.kind}{why}")
    return found


def large_enough(rows: Sequence[Solutions], size: int, notes: list[str]) -> list[Solutions]:
    """The rows with at least `size` responses. A note says how many others there were."""
    kept = [row for row in rows if len(row.texts) >= size]
    if len(kept) < len(rows):
        counts = Counter(len(row.texts) for row in rows if len(row.texts) < size)
        notes.append(f"{len(rows) - len(kept)} problems with fewer than {size} responses were left out: {dict(counts)}")
    return kept
