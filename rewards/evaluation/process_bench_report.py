"""The ProcessBench report: whether each reward finds the first wrong step, and how well it is calibrated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rewards.evaluation.benchmark_rows import STEP_END, Steps
from rewards.evaluation.calibration import steps_up_to_error
from rewards.evaluation.intervals import Estimate
from rewards.evaluation.options import EvaluationOptions
from rewards.evaluation.process_bench import ProcessBench, best_threshold, first_error, process_bench
from rewards.evaluation.report import Report, Table
from rewards.evaluation.trust_tables import add_calibration
from rewards.types import Group, Response

StepScores = Sequence[tuple[float, ...] | None]
"""The step scores of every solution, None if its score failed."""

NOTHING = ProcessBench(Estimate(None), Estimate(None), Estimate(None), 0, 0)
"""The figures of a reward that scored the steps of no solution: unknown, which is not the same as always wrong."""


def group_of_steps(row: Steps, process: bool) -> Group:
    """The solution to score. Its steps are joined so that a process model of this project can split them again;
    otherwise by blank lines, as launch.score reads ProcessBench."""
    return Group(row.problem, (Response((STEP_END if process else "\n\n").join(row.steps)),))


def report(
    rows: Sequence[Steps],
    scores: Mapping[str, StepScores],
    thresholds: Mapping[str, float],
    options: EvaluationOptions,
) -> Report:
    """ProcessBench's figures for every reward, and its calibration on the steps that have a label."""
    found = Report("ProcessBench")
    labels = [row.label for row in rows]
    bootstrap = options.bootstrap(len(rows))
    figures, lines = {}, []
    for name, steps in scores.items():
        predictions = [None if one is None else first_error(one, thresholds[name]) for one in steps]
        unscored = sum(prediction is None for prediction in predictions)
        one = process_bench(labels, predictions, bootstrap) if unscored < len(rows) else NOTHING
        best = best_threshold(labels, steps)
        tuned = NOTHING
        if best is not None:
            at_best = [None if one is None else first_error(one, best) for one in steps]
            tuned = process_bench(labels, at_best, bootstrap)
        figures[name] = {
            "threshold": thresholds[name],
            **{key: getattr(one, key) for key in ("error", "correct", "f1")},
            "best_threshold": best,
            "f1_at_best_threshold": tuned.f1,
            "unscored": unscored,
        }
        lines.append([name, one.error, one.correct, one.f1, best, tuned.f1, unscored])
    found.notes += _missing_classes(labels)
    found.figures |= {"solutions": len(rows), "errors": sum(label >= 0 for label in labels), "process_bench": figures}
    found.figures["protocol"] = options.protocol
    found.tables.append(
        Table(
            "ProcessBench, in percent",
            ["reward", "error", "correct", "F1", "best threshold", "F1 there", "not scored"],
            lines,
            f"{len(rows)} solutions, protocol {options.protocol}; a step counts as wrong below {_named(thresholds)}; "
            f"[{options.level:.0%} interval]. "
            "The best threshold is chosen on these solutions: keep it for others. A failed score never counts as "
            "correct; if all scores failed, the table has a dash.",
        )
    )
    add_calibration(
        {
            f"{name}: step right": ([score for score, _ in known], [flag for _, flag in known])
            for name, steps in scores.items()
            if (known := _labelled(steps, labels)) and all(0 <= score <= 1 for score, _ in known)
        },
        found,
    )
    return found


def _named(thresholds: Mapping[str, float]) -> str:
    """The threshold of all rewards, or of each if they differ."""
    if len(set(thresholds.values())) == 1:
        return f"{next(iter(thresholds.values())):g}"
    return ", ".join(f"{value:g} ({name})" for name, value in thresholds.items())


def _labelled(steps: StepScores, labels: Sequence[int]) -> list[tuple[float, bool]]:
    return [
        pair
        for one, label in zip(steps, labels, strict=True)
        if one is not None
        for pair in steps_up_to_error(one, label)
    ]


def _missing_classes(labels: Sequence[int]) -> list[str]:
    present = {"wrong": any(label >= 0 for label in labels), "right": any(label < 0 for label in labels)}
    missing = [kind for kind, found in present.items() if not found]
    return [f"WARNING: there is no {kind} solution in this file: its accuracy and F1 do not exist" for kind in missing]
