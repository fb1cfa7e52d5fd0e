"""Compare runs: `python -m launch.report runs/* --plot rewards.png`.

A Markdown table with one line per run: held-out accuracy before and after by the verifier, mean reward of the same
responses, KL, response length, time. `--plot` draws the curves: true accuracy and reward against updates, one panel per
setting, one colour per seed. `--matrix` prints tables of rewards by algorithms over seeds instead; with `--kl`, it also
measures how far each policy has moved from its start (`launch.report_kl`; seconds per run). `--statistics` prints what
the seeds allow to conclude: intervals, and which settings can be told apart. `--signs` says which signs of an exploited
reward (docs/hacking.md) each run showed, and when. `--html` writes all of this, the curves
and samples worth a look into one page that opens in any browser, without a network (`launch.page`). A run's folder says
what it is (origin.json, config.yaml). Runs without a first and a last evaluation are named and left out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from launch.report_matrix import matrix
from launch.report_signs import signs_table
from launch.report_statistics import statistics, studied
from rewards.builder import one_line
from rl.run.past_runs import Run, differing, read_all
from rl.study.results import TRUTH


def main(words: Sequence[str] | None = None) -> int:
    """Print the tables, draw the plot, write the page. Returns the exit code."""
    options = parsed(words)
    runs, left_out = read_all(options.folders)
    for folder, reason in left_out:
        print(f"left out: {folder}: {reason}", file=sys.stderr)
    if options.matrix:
        for run in runs:
            if not run.choices or not run.folder.joinpath("config.yaml").is_file():
                print(f"left out: {run.folder}: its files do not say which options were chosen", file=sys.stderr)
        runs = [run for run in runs if run.choices and run.folder.joinpath("config.yaml").is_file()]
    moved = measured(runs) if options.kl else None
    runs = runs if moved is None else [run for run in runs if run.folder in moved]
    if not runs:
        print("error: none of these folders holds a run with evaluations", file=sys.stderr)
        return 2
    try:
        found = studied(runs, left_out, options) if options.statistics or options.html else None
    except ValueError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    if found and options.statistics:
        print(statistics(*found))
    elif options.signs:
        print(signs_table(runs))
    else:
        print(matrix(runs, moved) if options.matrix else table(runs))
    if options.plot and not _written("--plot", "curves", options.plot, lambda: plot(runs, options.plot)):
        return 2
    if found and options.html:
        from launch.page.build import write_page  # Altair takes a second to import

        if not _written("--html", "page", options.html, lambda: write_page(options.html, *found, options.samples)):
            return 2
    return 0


def parsed(words: Sequence[str] | None) -> argparse.Namespace:
    """The options that were given. Exits with a message for those that do not go together."""
    parser = argparse.ArgumentParser(prog="python -m launch.report", description=__doc__, allow_abbrev=False)
    parser.add_argument("folders", nargs="+", type=Path, help="run folders")
    parser.add_argument("--plot", type=Path, help="write the curves to this PNG file")
    parser.add_argument("--html", type=Path, help="write the whole comparison to this HTML file")
    parser.add_argument("--samples", type=int, help="with --html: most samples in the page (default: 1000)")
    parser.add_argument("--matrix", action="store_true", help="tables of rewards by algorithms, over seeds")
    parser.add_argument("--kl", action="store_true", help="with --matrix: measure every policy's KL from its start")
    parser.add_argument("--statistics", action="store_true", help="intervals over seeds, and what can be told apart")
    parser.add_argument("--signs", action="store_true", help="signs of an exploited reward in each run")
    parser.add_argument("--metric", help=f"with --statistics or --html: what they compare (default: {TRUTH})")
    parser.add_argument("--lower-is-better", action="store_true", help="with --metric: the best has the lowest value")
    options = parser.parse_args(words)
    if options.kl and not options.matrix:
        parser.error("--kl goes with --matrix")
    if sum((options.statistics, options.matrix, options.signs)) > 1:
        parser.error("choose one of --matrix, --statistics and --signs")
    if options.metric and not (options.statistics or options.html):
        parser.error("--metric goes with --statistics or --html")
    if options.lower_is_better and not options.metric:
        parser.error("--lower-is-better goes with --metric")
    if options.samples is not None and (options.samples < 0 or not options.html):
        parser.error("--samples goes with --html, and must not be negative")
    options.metric = options.metric or TRUTH
    options.samples = 1000 if options.samples is None else options.samples
    return options


def _written(option: str, what: str, path: Path, write: Callable[[], None]) -> bool:
    """Write a file and say where it is, or why it cannot be written."""
    try:
        write()
    except (OSError, ValueError) as error:
        print(f"error: {option} {path}: {one_line(error)}", file=sys.stderr)
        return False
    print(f"\n{what}: {path}")
    return True


def measured(runs: Sequence[Run]) -> dict[Path, float]:
    """Each run folder's KL from the start. Names and leaves out runs for which it cannot be measured."""
    from launch.report_kl import kl_from_start  # torch takes seconds to import

    found = {}
    for run in runs:
        try:
            found[run.folder] = kl_from_start(run.folder)
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = one_line(error) if isinstance(error, OSError | ValueError) else f"config.yaml lacks {error}"
            print(f"left out: {run.folder}: its KL cannot be measured: {reason}", file=sys.stderr)
    return found


def table(runs: Sequence[Run]) -> str:
    """The runs as a Markdown table, one line each."""
    lines = [
        "| run | seed | updates | held-out accuracy | change | mean reward | KL | response tokens | time |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    apart = differing(runs)
    for run in runs:
        accuracy, reward = run.series("accuracy/held_out"), run.series("reward/held_out")
        tokens, kl = run.series("response/held_out_tokens"), run.series("learner/kl")
        change = accuracy[-1][1] - accuracy[0][1]
        lines.append(
            f"| {named(run, apart)} | {run.seed} | {accuracy[-1][0]} | {_arrow(accuracy)} | {change:+.3f} "
            f"| {_arrow(reward)} | {f'{kl[-1][1]:.3f}' if kl else '-'} | {_arrow(tokens, 1)} "
            f"| {int(run.seconds // 60)} min {int(run.seconds % 60)} s |"
        )
    return "\n".join(lines)


def named(run: Run, apart: Mapping[Path, str]) -> str:
    """A run's name with the settings that distinguish it from others of that name."""
    return f"{run.name} {apart[run.folder]}".strip()


def plot(runs: Sequence[Run], path: Path) -> None:
    """True accuracy (solid) and mean reward (dashed) on held-out problems against updates; one panel per name.

    If a reward leaves [0, 1], its panel has a second scale for it on the right.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    apart = differing(runs)
    names = sorted({named(run, apart) for run in runs})
    columns = 2 if len(names) == 4 else min(len(names), 3)
    rows = -(-len(names) // columns)
    figure, axes = pyplot.subplots(rows, columns, figsize=(3.8 * columns, 3.0 * rows), sharey=True, squeeze=False)
    for axis in axes.flat[len(names) :]:
        axis.remove()
    for axis, name in zip(axes.flat, names, strict=False):
        _panel(axis, name, [run for run in runs if named(run, apart) == name])
    axes[0][0].legend(fontsize=7, loc="lower right")
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def _panel(axis: Any, name: str, runs: Sequence[Run]) -> None:
    rewards = [value for run in runs for _, value in run.series("reward/held_out")]
    outside = any(not 0 <= value <= 1 for value in rewards)
    scale = axis.twinx() if outside else axis
    for number, run in enumerate(runs):
        accuracy, reward = run.series("accuracy/held_out"), run.series("reward/held_out")
        axis.plot(*zip(*accuracy, strict=True), color=f"C{number}", label=f"accuracy, seed {run.seed}")
        if reward:
            scale.plot(*zip(*reward, strict=True), color=f"C{number}", linestyle="--")
    axis.plot([], [], color="grey", linestyle="--", label="mean reward")
    if outside:
        scale.set_ylim(min(0.0, *rewards), 1.1 * max(rewards))
        scale.set_ylabel("mean reward (dashed)", fontsize=7)
        scale.tick_params(labelsize=7)
    axis.set_title(name.replace("_", " ") + ("" if rewards else "\n(no reward for a lone response)"), fontsize=9)
    axis.set_xlabel("updates", fontsize=8)
    axis.set_ylim(0, 1)
    axis.grid(alpha=0.3)


def _arrow(series: Sequence[tuple[int, float]], digits: int = 3) -> str:
    return f"{series[0][1]:.{digits}f} -> {series[-1][1]:.{digits}f}" if series else "-"


if __name__ == "__main__":
    sys.exit(main())
