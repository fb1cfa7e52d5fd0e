"""A study: `python -m launch.study folder=studies/kl reward=orm,prm algorithm.kl=0,0.05 seed=1,2 jobs=2`.

Takes the words of `launch.train -m`. Every run gets its own process and its own folder in `folder`, `jobs` of them at a
time. Given again, the same command skips runs that have finished and resumes the others from their last checkpoint. A
run that fails does not stop the others; a table at the end says which failed and why, and the page of `launch.report`
is written next to them as study.html. Exit codes: 0 all runs finished, 1 some failed, 2 invalid configuration,
130 Ctrl-C, 143 SIGTERM.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from launch import report
from launch.study_runs import Outcome, Runner, points, require_free
from launch.train import Checked, check_all, refused
from rewards.builder import ConfigurationError, checked
from rl.run.stopping import exit_code, install_sigterm_handler, stop_reason

OWN = {"folder": str, "jobs": int}
"""Words of this command alone."""


def main(words: Sequence[str] | None = None) -> int:
    """Check every run, then run them. Returns the exit code."""
    install_sigterm_handler()
    given = list(sys.argv[1:] if words is None else words)
    if "--help" in given or "-h" in given:
        print(__doc__)
        return 0
    try:
        folder, jobs, others = own_words(given)
        found = points(check_points(others), folder, others)
        for point in found:
            require_free(point)
    except (ConfigurationError, ValueError, OSError) as error:
        return refused(error)
    except KeyboardInterrupt as error:
        print(f"error: {stop_reason(error)} before a run began", file=sys.stderr)
        return exit_code(error)
    console = Console(highlight=False)
    runner = Runner(found, jobs, lambda line: console.print(line, markup=False, soft_wrap=True))
    try:
        outcomes = runner.run()
    except KeyboardInterrupt as error:
        console.print(f"{stop_reason(error)}; give the same command again to continue", markup=False)
        return exit_code(error)
    console.print(table(outcomes))
    write_page(folder, outcomes)
    return int(any(not outcome.finished for outcome in outcomes))


def own_words(words: Sequence[str]) -> tuple[Path, int, list[str]]:
    """The study's folder, the number of jobs, and the words for launch.train.

    Raises ConfigurationError if the folder is missing or a value has the wrong type.
    """
    own = {key: value for key, _, value in (word.partition("=") for word in words) if key in OWN}
    if not own.get("folder"):
        raise ConfigurationError(
            "folder is missing: say where the study is to be written, as in folder=studies/rewards"
        )
    try:
        jobs = checked(int(own.get("jobs", "1")), int, "jobs")
    except ValueError as error:
        raise ConfigurationError(f"jobs: expected int, got {own['jobs']!r}") from error
    if jobs < 1:
        raise ConfigurationError(f"jobs must be at least 1, not {jobs}")
    others = [word for word in words if word.partition("=")[0] not in OWN]
    for word in others:
        if word.partition("=")[0] in ("run_dir", "resume", "dry_run"):
            raise ConfigurationError(f"{word}: a study sets its runs' folders and resumes them itself; leave it out")
    return Path(own["folder"]).absolute(), jobs, others


def check_points(words: Sequence[str]) -> list[Checked]:
    """Compose and check every run of the sweep. Raises ConfigurationError."""
    return check_all([*words, *([] if "-m" in words or "--multirun" in words else ["-m"])])


def table(outcomes: Sequence[Outcome]) -> Table:
    """What came of every run."""
    shown = Table(title=f"{sum(outcome.finished for outcome in outcomes)} of {len(outcomes)} runs finished")
    for column in ("run", "state", "held-out accuracy", "time", "why"):
        shown.add_column(column, overflow="fold")
    for outcome in outcomes:
        shown.add_row(outcome.point.name, outcome.state, outcome.accuracy, outcome.time, outcome.reason)
    return shown


def write_page(folder: Path, outcomes: Sequence[Outcome]) -> None:
    """Write study.html from the runs that have something to show."""
    folders = [str(outcome.point.folder) for outcome in outcomes if (outcome.point.folder / "metrics.jsonl").exists()]
    if folders:
        report.main([*folders, "--html", str(folder / "study.html")])


if __name__ == "__main__":
    sys.exit(main())
