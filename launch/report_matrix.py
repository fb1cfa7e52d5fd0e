"""Runs of several rewards and algorithms side by side: the tables of `python -m launch.report runs/* --matrix`.

A run's reward and algorithm come from origin.json, its settings from config.yaml. Only seeds of the same setting are
averaged; the changes in accuracy are shown for each seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from rl.run.past_runs import Run, differing, reward_of

ALGORITHMS = ("ppo", "grpo", "dpo")
"""The order of the columns; others come after, by name."""

Cell = tuple[str, str]
"""The row's label (a reward, and the settings that distinguish it) and the algorithm."""


def matrix(runs: Sequence[Run], moved: Mapping[Path, float] | None = None) -> str:
    """Two Markdown tables: held-out accuracy of rewards by algorithms, and one line of details for each cell.

    `moved`: each run folder's KL from the start (`launch.report_kl`), shown in place of the KL that the run logged.
    A run that repeats another's settings and seed is left out, with a line under the tables.
    """
    cells: dict[Cell, list[Run]] = {}
    repeated = []
    for run, cell in zip(runs, cells_of(runs), strict=True):
        seen = next((other for other in cells.get(cell, []) if other.seed == run.seed), None)
        if seen is None:
            cells.setdefault(cell, []).append(run)
        else:
            repeated.append(f"left out: {run.folder} repeats the settings and the seed of {seen.folder}")
    rewards = list(dict.fromkeys(reward for reward, _ in sorted(cells, key=_row_order)))
    algorithms = sorted({algorithm for _, algorithm in cells}, key=_column_order)
    tables = [*_accuracy(cells, rewards, algorithms), "", *_details(cells, rewards, algorithms, moved)]
    return "\n".join([*tables, *([""] if repeated else []), *repeated])


def cells_of(runs: Sequence[Run]) -> list[Cell]:
    """The cell of each run. Runs of one cell differ only in the seed."""
    several_tasks = len({run.choices.get("task") for run in runs}) > 1
    apart = differing(runs)
    cells = []
    for run in runs:
        words = (reward_of(run.choices), run.choices.get("task") if several_tasks else None, apart[run.folder])
        cells.append((" ".join(word for word in words if word) or "own", run.choices.get("algorithm") or "own"))
    return cells


def _accuracy(cells: dict[Cell, list[Run]], rewards: list[str], algorithms: list[str]) -> list[str]:
    """Mean held-out accuracy before and after, with every seed's change."""
    lines = [f"| reward | {' | '.join(algorithms)} |", "|---" * (len(algorithms) + 1) + "|"]
    for reward in rewards:
        row = [_change(cells.get((reward, algorithm), [])) for algorithm in algorithms]
        lines.append(f"| {reward} | {' | '.join(row)} |")
    return lines


def _change(runs: list[Run]) -> str:
    if not runs:
        return "-"
    series = [run.series("accuracy/held_out") for run in runs]
    before, after = (fmean(one[place][1] for one in series) for place in (0, -1))
    changes = ", ".join(f"{one[-1][1] - one[0][1]:+.3f}" for one in series)
    return f"{before:.3f} -> {after:.3f} ({changes})"


def _details(
    cells: dict[Cell, list[Run]], rewards: list[str], algorithms: list[str], moved: Mapping[Path, float] | None
) -> list[str]:
    """One line for each cell: means over its seeds."""
    title = "KL" if moved is None else "KL from the start"
    lines = [
        f"| reward | algorithm | seeds | samples | mean reward | {title} | response tokens | seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for reward in rewards:
        for algorithm in algorithms:
            if runs := cells.get((reward, algorithm)):
                mean = _mean_over(runs)
                kl = mean("learner/kl", -1, 3) if moved is None else f"{fmean(moved[run.folder] for run in runs):.3f}"
                lines.append(
                    f"| {reward} | {algorithm} | {', '.join(run.seed for run in runs)} "
                    f"| {fmean(run.samples for run in runs):.0f} "
                    f"| {mean('reward/held_out', 0, 3)} -> {mean('reward/held_out', -1, 3)} "
                    f"| {kl} "
                    f"| {mean('response/held_out_tokens', 0, 1)} -> {mean('response/held_out_tokens', -1, 1)} "
                    f"| {fmean(run.seconds for run in runs):.0f} |"
                )
    return lines


def _mean_over(runs: list[Run]) -> Callable[[str, int, int], str]:
    """The mean over runs of a metric's first (0) or last (-1) value, as text; `-` if no run has it."""

    def mean(metric: str, place: int, digits: int) -> str:
        values = [series[place][1] for run in runs if (series := run.series(metric))]
        return f"{fmean(values):.{digits}f}" if values else "-"

    return mean


def _column_order(algorithm: str) -> tuple[int, str]:
    return (ALGORITHMS.index(algorithm) if algorithm in ALGORITHMS else len(ALGORITHMS)), algorithm


def _row_order(cell: Cell) -> tuple[int, str]:
    """Rewards in the experiment's order, then others by name."""
    known = ("verifier", "orm", "prm", "prm_product", "prm_steps", "armorm", "pairjudge", "pairjudge_knockout")
    reward = cell[0].split()[0]
    return (known.index(reward) if reward in known else len(known)), cell[0]
