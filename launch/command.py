"""Start and end of the commands that write one file or folder: score, evaluate, annotate, train_reward.

Everything is composed and checked before anything starts. Exit codes: 0 success, 1 the work failed (one line says why),
2 invalid configuration, 130 Ctrl-C, 143 SIGTERM.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import OmegaConf
from rich.console import Console

from launch.built import not_built
from launch.composition import compose
from launch.configuration import plain
from launch.output import quiet
from launch.words import parse_words
from rewards.builder import ConfigurationError, one_line
from rl.run.stopping import exit_code, install_sigterm_handler, stop_reason

Checked = TypeVar("Checked")


@dataclass(frozen=True)
class Composed:
    """A command's configuration as plain data, the option of each group, and the flags to compose further ones."""

    config: dict[str, Any]
    choices: Mapping[str, str | None]
    flags: list[str]


def parse_and_check(
    command: str, words: Sequence[str] | None, help_text: str | None, check: Callable[[Composed], Checked]
) -> Checked | int:
    """Compose the configuration that `words` requests (None: the command line) and return `check` of it.

    Returns an exit code instead if there is nothing to do (`--help`, `--cfg`), if `check` raises ValueError or OSError,
    or if the command is interrupted.
    """
    words = list(sys.argv[1:] if words is None else words)
    install_sigterm_handler()
    try:
        args = parse_words(words)
        if args.help:
            print(help_text)
            return 0
        runs = compose(words, command)
        if len(runs) > 1:
            raise ConfigurationError(f"launch.{command} does not run sweeps: start it once for each value")
        if args.cfg:
            print(OmegaConf.to_yaml(runs[0].config))
            return 0
        flags = ["--config-dir", args.config_dir] if args.config_dir else []
        config = plain(runs[0].config)
        if missing := not_built(config):
            raise ConfigurationError(missing[0])
        return check(Composed(config, runs[0].choices, flags))
    except KeyboardInterrupt as error:
        print(f"error: {stop_reason(error)} before anything was done", file=sys.stderr)
        return exit_code(error)
    except (ValueError, OSError) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2


def run_logged(work: Callable[[Console], None], log: Path, kept: Path) -> int:
    """Run `work` with library output in `log`, progress saved in `kept`. Returns the exit code."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with quiet(log) as screen:
        console = Console(file=screen)
        try:
            work(console)
        except (Exception, KeyboardInterrupt) as error:
            stopped = isinstance(error, KeyboardInterrupt)
            console.print(f"error: {stop_reason(error) if stopped else one_line(error)}", markup=False, soft_wrap=True)
            console.print(
                f"       progress is saved in {kept}; run the same command to resume", markup=False, soft_wrap=True
            )
            return exit_code(error) if stopped else 1
    return 0
