"""Train a policy against a reward: `python -m launch.train reward=orm algorithm.kl=0.01`, `--help` for everything else.

The configuration, with every point of a sweep, is composed and checked before anything starts. Exit codes: 0 success,
1 a run failed (one line says why and where its traceback is), 2 invalid configuration, 130 Ctrl-C, 143 SIGTERM.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from launch import configuration, resume
from launch.composition import RunConfig, compose, show
from launch.output import quiet
from launch.plan import plan
from launch.terminal import make_display
from launch.words import parse_words
from rewards.builder import ConfigurationError, one_line
from rl.run.checkpoint import latest, update_of
from rl.run.folder import RunFolder, require_unused
from rl.run.past_runs import title_of
from rl.run.stopping import STOPPED, exit_code, install_sigterm_handler, stop_reason
from rl.run_settings import RunSettings
from rl.tasks import FileTask


def main(words: Sequence[str] | None = None) -> int:
    """Check everything that `words` requests, then run it. Returns the exit code."""
    install_sigterm_handler()
    try:
        return check_and_run(list(sys.argv[1:] if words is None else words))
    except KeyboardInterrupt as error:
        print(f"error: {stop_reason(error)} before a run began", file=sys.stderr)
        return exit_code(error)


@dataclass(frozen=True)
class Checked:
    """A run that can start: its overrides, resolved configuration, settings, and notes for the user."""

    overrides: tuple[str, ...]
    choices: Mapping[str, str | None]
    config: dict[str, Any]
    settings: RunSettings
    notes: list[str]


def check_and_run(words: Sequence[str]) -> int:
    """Compose and check every run that `words` requests, then run them in order. Returns the highest exit code."""
    try:
        args = parse_words(words)
        if args.shows:
            if args.cfg:
                compose(words)  # reports errors in one line
            show(words, args)
            return 0
        # Hides what libraries print on import; our own errors are exceptions.
        with quiet(Path(os.devnull)):
            runs = check_all(words)
    except ConfigurationError as error:
        return refused(error)
    codes: list[int] = []
    for number, one in enumerate(runs, start=1):
        if codes and codes[-1] in STOPPED:
            print(f"skipped, because the previous run was interrupted: {' '.join(one.overrides)}")
            continue
        if len(runs) > 1:
            print(f"run {number} of {len(runs)}: {' '.join(one.overrides)}")
        codes.append(run(one, words))
    return max(codes, default=0)


def check_all(words: Sequence[str]) -> list[Checked]:
    """Compose and check the run, or every run of the sweep. Raises ConfigurationError."""
    runs = compose(words)
    folders = [run.config.get("run_dir") for run in runs]
    if len(runs) > 1 and any(folders):
        raise ConfigurationError(
            f"run_dir={folders[0]}: the {len(runs)} runs of a sweep cannot share a folder; leave it out"
        )
    if len(runs) > 1 and any(run.config.get("resume") for run in runs):
        raise ConfigurationError("resume takes one run at a time: drop -m")
    found = []
    for number, run in enumerate(runs, start=1):
        try:
            found.append(checked(run))
        except ConfigurationError as error:
            place = f"run {number} of {len(runs)} ({' '.join(run.overrides)}): " if len(runs) > 1 else ""
            raise ConfigurationError(f"{place}{error}") from error
    return found


def checked(composed: RunConfig) -> Checked:
    """Check one run. The notes of a dry run also list what is missing on this machine.

    Raises ConfigurationError for an invalid configuration, and for a run that cannot be resumed.
    """
    config = resume.configuration_of(configuration.plain(composed.config), composed.overrides)
    absent: list[str] = []
    resumed, choices = config["resume"], composed.choices
    settings = configuration.check(config, {} if resumed else choices, absent if config["dry_run"] else None)
    notes = absent + (resume.notes_on(settings, Path(resumed)) if resumed else [])
    return Checked(composed.overrides, choices, config, settings, [*notes, *configuration.warnings(settings)])


def run(checked: Checked, words: Sequence[str]) -> int:
    """Start a checked run. Returns the exit code."""
    config, settings, notes = checked.config, checked.settings, checked.notes
    resumed = bool(config["resume"])
    try:
        path = folder_of(config, checked.choices)
        if not resumed:
            require_unused(path)
        if config["dry_run"]:
            Console().print(plan(settings, str(path), notes))
            return 0
        folder = RunFolder(path, settings.logger, resume=resumed)
        if isinstance(settings.task, FileTask):
            settings.task.describe(path)
    except (ValueError, OSError) as error:  # ConfigurationError is a ValueError
        return refused(error)
    command = ["python", "-m", "launch.train", *words]
    if resumed:
        folder.describe_resumption(command, notes)
    else:
        folder.describe({**config, "run_dir": str(path)}, command, checked.choices)
    return train(settings, folder, f"resumed: {path.name}" if resumed else title_of(checked.choices), notes)


def train(settings: RunSettings, folder: RunFolder, title: str, notes: Sequence[str]) -> int:
    """Run the loop with a display; library output goes to the run folder's log. Returns the exit code."""
    with quiet(folder.logs / "driver.log") as screen:
        console = Console(file=screen)
        display = make_display(settings.logger.progress, title, settings.loop.updates, console)
        try:
            for note in notes:
                display.event(note)
            from rl import loop  # imports torch and Ray, whose output belongs in the log

            summary = loop.train(settings, folder, display)
            folder.finish(summary)
            display.finish(summary)
            return 0
        except (Exception, KeyboardInterrupt) as error:
            display.close()
            trace = folder.fail(error)
            stopped = isinstance(error, KeyboardInterrupt)
            reason = stop_reason(error) if stopped else one_line(error)
            console.print(f"error: {reason}", style="red", markup=False, highlight=False, soft_wrap=True)
            for line in (f"output so far is in {folder.path}; traceback: {trace}", *resume_hint(folder.path)):
                console.print(f"       {line}", markup=False, soft_wrap=True)
            return exit_code(error) if stopped else 1
        finally:
            display.close()


def resume_hint(folder: Path) -> list[str]:
    """How to resume a failed run; empty if it has no checkpoint."""
    found = latest(folder)
    if found is None:
        return []
    return [
        f"last good checkpoint: {found} (after update {update_of(found)}); to resume from it: "
        f"python -m launch.train resume={folder}"
    ]


def folder_of(config: Mapping[str, Any], choices: Mapping[str, str | None]) -> Path:
    """The run's folder: `run_dir`, or a new one under runs/ named after the time and the choices."""
    if config.get("run_dir"):
        return Path(config["run_dir"]).absolute()
    stem = f"{time.strftime('%Y-%m-%d_%H-%M-%S')}_{title_of(choices).replace(' ', '_')}_seed{config['seed']}"
    path, number = Path("runs", stem).absolute(), 1
    while path.exists():
        number += 1
        path = path.with_name(f"{stem}_{number}")
    return path


def refused(error: Exception) -> int:
    """Print in one line why nothing was started. Returns exit code 2."""
    print(f"error: {one_line(error)}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
