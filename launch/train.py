"""Train a policy against a reward: `python -m launch.train reward=orm algorithm.kl=0.01`, `--help` for everything else.

The configuration is composed and checked first, every point of a sweep too; only then does anything start. Exit codes:
0 done, 1 a run broke (one line says why and where its traceback lies), 2 the configuration cannot work, 130 Ctrl-C.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console

from launch import configuration
from launch.composition import CONFIG_PACKAGE, compose, parse_words, register_resolvers
from launch.nodes import ConfigurationError, one_line
from launch.output import quiet
from launch.plan import plan
from launch.terminal import make_display
from rl.run_folder import RunFolder, require_unused
from rl.settings import RunSettings


def main(words: Sequence[str] | None = None) -> int:
    """Check everything that `words` ask for, then run it. Returns the exit code."""
    words = list(sys.argv[1:] if words is None else words)
    register_resolvers()
    try:
        args = parse_words(words)
        if args.cfg:
            compose(words)
        elif not (args.help or args.hydra_help or args.info or args.shell_completion):
            # What libraries print while they are imported; our own findings come as exceptions.
            with quiet(Path(os.devnull)):
                check_all(words)
    except ConfigurationError as error:
        return refused(error)
    codes: list[int] = []

    def job(config: DictConfig) -> None:
        codes.append(run(config, HydraConfig.get().runtime.choices, words))

    # Hydra reads sys.argv, and wants its flags before the overrides.
    sys.argv = [sys.argv[0], *(word for word in words if word not in args.overrides), *args.overrides]
    hydra.main(version_base="1.3", config_path=CONFIG_PACKAGE, config_name="train")(job)()
    return max(codes, default=0)


def check_all(words: Sequence[str]) -> None:
    """Compose and check the run, or every run of the sweep. Raises ConfigurationError."""
    runs = compose(words)
    folders = [run.config.get("run_dir") for run in runs]
    if len(runs) > 1 and any(folders):
        raise ConfigurationError(
            f"run_dir={folders[0]}: the {len(runs)} runs of a sweep cannot share a folder; leave it out"
        )
    for number, run in enumerate(runs, start=1):
        try:
            configuration.check(configuration.plain(run.config), run.choices)
        except ConfigurationError as error:
            place = f"run {number} of {len(runs)} ({' '.join(run.overrides)}): " if len(runs) > 1 else ""
            raise ConfigurationError(f"{place}{error}") from error


def run(config: DictConfig, choices: Mapping[str, str | None], words: Sequence[str]) -> int:
    """One run from its composed configuration. Returns the exit code."""
    try:
        resolved = configuration.plain(config)
        settings = configuration.check(resolved, choices)
        path = folder_of(resolved, choices)
        require_unused(path)
        if resolved["dry_run"]:
            Console().print(plan(settings, str(path)))
            return 0
        folder = RunFolder(path, settings.logger)
    except (ConfigurationError, FileExistsError) as error:
        return refused(error)
    folder.describe({**resolved, "run_dir": str(path)}, ["python", "-m", "launch.train", *words])
    return train(settings, folder, title_of(choices))


def train(settings: RunSettings, folder: RunFolder, title: str) -> int:
    """Run the loop with a display, its noise kept in the run folder. Returns the exit code."""
    with quiet(folder.logs / "driver.log") as screen:
        console = Console(file=screen)
        display = make_display(settings.logger.progress, title, settings.loop.updates, console)
        try:
            for warning in configuration.warnings(settings):
                display.event(warning)
            from rl import loop  # imports torch, Ray and what goes with them, whose noise belongs in the log

            summary = loop.train(settings, folder, display)
            folder.finish(summary)
            display.finish(summary)
            return 0
        except (Exception, KeyboardInterrupt) as error:
            display.close()
            trace = folder.fail(error)
            interrupted = isinstance(error, KeyboardInterrupt)
            reason = "stopped by Ctrl-C" if interrupted else one_line(error)
            console.print(f"error: {reason}", style="red", markup=False, highlight=False, soft_wrap=True)
            console.print(
                f"       what was written is kept in {folder.path}; traceback: {trace}", markup=False, soft_wrap=True
            )
            return 130 if interrupted else 1
        finally:
            display.close()


def folder_of(config: Mapping[str, Any], choices: Mapping[str, str | None]) -> Path:
    """The run's folder: `run_dir`, or a new one under runs/ named by time and choices."""
    if config.get("run_dir"):
        return Path(config["run_dir"]).absolute()
    stem = f"{time.strftime('%Y-%m-%d_%H-%M-%S')}_{title_of(choices).replace(' ', '_')}_seed{config['seed']}"
    path, number = Path("runs", stem).absolute(), 1
    while path.exists():
        number += 1
        path = path.with_name(f"{stem}_{number}")
    return path


def title_of(choices: Mapping[str, str | None]) -> str:
    """The run in a few words: algorithm, reward, task."""
    return " ".join(str(choices.get(group) or "own").replace("/", "-") for group in ("algorithm", "reward", "task"))


def refused(error: Exception) -> int:
    """Say in one line why nothing was started."""
    print(f"error: {one_line(error)}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
