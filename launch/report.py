"""Compare runs: `python -m launch.report runs/* --plot rewards.png`.

A Markdown table with a line a run: held-out accuracy before and after by the verifier, mean reward of the same
responses beside it, KL, response length, time. With `--plot`, the curves: true accuracy and reward against updates, a
panel a run name, a colour a seed. With `--matrix`, tables of rewards by algorithms over seeds instead. Runs without a
first and a last evaluation are named and left out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from launch.report_matrix import matrix
from launch.runs import Run, read_all


def main(words: Sequence[str] | None = None) -> int:
    """Print the table, draw the plot. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m launch.report", description=__doc__, allow_abbrev=False)
    parser.add_argument("folders", nargs="+", type=Path, help="run folders")
    parser.add_argument("--plot", type=Path, help="write the curves to this PNG file")
    parser.add_argument("--matrix", action="store_true", help="tables of rewards by algorithms, over seeds")
    options = parser.parse_args(words)
    runs, left_out = read_all(options.folders)
    for folder, reason in left_out:
        print(f"left out: {folder}: {reason}", file=sys.stderr)
    if not runs:
        print("error: none of these folders holds a run with evaluations", file=sys.stderr)
        return 2
    print(matrix(runs) if options.matrix else table(runs))
    if options.plot:
        plot(runs, options.plot)
        print(f"\ncurves: {options.plot}")
    return 0


def table(runs: Sequence[Run]) -> str:
    """The runs as a Markdown table."""
    lines = [
        "| run | seed | updates | held-out accuracy | change | mean reward | KL | response tokens | time |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for run in runs:
        accuracy, reward = run.series("accuracy/held_out"), run.series("reward/held_out")
        tokens, kl = run.series("response/held_out_tokens"), run.series("learner/kl")
        change = accuracy[-1][1] - accuracy[0][1]
        lines.append(
            f"| {run.name} | {run.seed} | {accuracy[-1][0]} | {_arrow(accuracy)} | {change:+.3f} | {_arrow(reward)} "
            f"| {f'{kl[-1][1]:.3f}' if kl else '-'} | {_arrow(tokens, 1)} "
            f"| {int(run.seconds // 60)} min {int(run.seconds % 60)} s |"
        )
    return "\n".join(lines)


def plot(runs: Sequence[Run], path: Path) -> None:
    """True accuracy (solid) and mean reward (dashed) on held-out problems against updates; one panel a name."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = sorted({run.name for run in runs})
    figure, axes = pyplot.subplots(1, len(names), figsize=(3.4 * len(names), 3.2), sharey=True, squeeze=False)
    for axis, name in zip(axes[0], names, strict=True):
        for number, run in enumerate(run for run in runs if run.name == name):
            colour = f"C{number}"
            axis.plot(
                *zip(*run.series("accuracy/held_out"), strict=True), color=colour, label=f"accuracy, seed {run.seed}"
            )
            axis.plot(*zip(*run.series("reward/held_out"), strict=True), color=colour, linestyle="--", label="reward")
        axis.set_title(name.replace("_", " "), fontsize=9)
        axis.set_xlabel("updates")
        axis.set_ylim(0, 1)
        axis.grid(alpha=0.3)
    axes[0][0].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def _arrow(series: Sequence[tuple[int, float]], digits: int = 3) -> str:
    return f"{series[0][1]:.{digits}f} -> {series[-1][1]:.{digits}f}" if series else "-"


if __name__ == "__main__":
    sys.exit(main())
