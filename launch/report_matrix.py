"""Runs of several rewards and algorithms side by side: the tables of `python -m launch.report runs/* --matrix`.

A run's folder is named algorithm_reward_task_seedN; which part is which is known from the options in `configs/`. Seeds
of the same cell are shown one by one where it matters and averaged elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from launch.runs import Run

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
ALGORITHMS = ("ppo", "grpo", "dpo")
"""The order of the columns; others come after, by name."""

Cell = tuple[str, str]
"""Reward and algorithm."""


def matrix(runs: Sequence[Run], moved: Mapping[Path, float] | None = None) -> str:
    """Two Markdown tables: held-out accuracy, rewards by algorithms, and a line a cell with what came with it.

    `moved`: each run folder's KL from the start (`launch.report_kl`), shown in place of the KL that the run logged.
    """
    cells: dict[Cell, list[Run]] = {}
    for run in runs:
        cells.setdefault(cell_of(run.name), []).append(run)
    rewards = list(dict.fromkeys(reward for reward, _ in sorted(cells, key=_row_order)))
    algorithms = sorted({algorithm for _, algorithm in cells}, key=_column_order)
    return "\n".join([*_accuracy(cells, rewards, algorithms), "", *_details(cells, rewards, algorithms, moved)])


def cell_of(name: str) -> Cell:
    """Reward and algorithm of a run named algorithm_reward_task; an unknown algorithm is the first word."""
    algorithm = _longest([option for option in _options("algorithm") if name.startswith(f"{option}_")])
    algorithm = algorithm or name.partition("_")[0]
    task = _longest([option for option in _options("task") if name.endswith(f"_{option}")])
    reward = name.removeprefix(algorithm).removesuffix(task).strip("_")
    return reward or name, algorithm


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
    series = [run.series("accuracy/held_out") for run in sorted(runs, key=lambda run: run.seed)]
    before, after = (fmean(one[place][1] for one in series) for place in (0, -1))
    changes = ", ".join(f"{one[-1][1] - one[0][1]:+.3f}" for one in series)
    return f"{before:.3f} -> {after:.3f} ({changes})"


def _details(
    cells: dict[Cell, list[Run]], rewards: list[str], algorithms: list[str], moved: Mapping[Path, float] | None
) -> list[str]:
    """A line a cell: means over its seeds."""
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
                    f"| {reward} | {algorithm} | {', '.join(sorted(run.seed for run in runs))} "
                    f"| {fmean(run.samples for run in runs):.0f} "
                    f"| {mean('reward/held_out', 0, 3)} -> {mean('reward/held_out', -1, 3)} "
                    f"| {kl} "
                    f"| {mean('response/held_out_tokens', 0, 1)} -> {mean('response/held_out_tokens', -1, 1)} "
                    f"| {fmean(run.seconds for run in runs):.0f} |"
                )
    return lines


def _mean_over(runs: list[Run]) -> Callable[[str, int, int], str]:
    """The mean over runs of a metric's first (0) or last (-1) value, as text; `-` where no run has it."""

    def mean(metric: str, place: int, digits: int) -> str:
        values = [series[place][1] for run in runs if (series := run.series(metric))]
        return f"{fmean(values):.{digits}f}" if values else "-"

    return mean


def _options(group: str) -> list[str]:
    return [path.stem for path in (CONFIGS / group).glob("*.yaml")]


def _longest(words: list[str]) -> str:
    return max(words, key=len, default="")


def _column_order(algorithm: str) -> tuple[int, str]:
    return (ALGORITHMS.index(algorithm) if algorithm in ALGORITHMS else len(ALGORITHMS)), algorithm


def _row_order(cell: Cell) -> tuple[int, str]:
    """Rewards as the experiment lists them, others after by name."""
    known = ("verifier", "orm", "prm", "prm_product", "prm_steps", "armorm", "pairjudge", "pairjudge_knockout")
    return (known.index(cell[0]) if cell[0] in known else len(known)), cell[0]
