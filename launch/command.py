"""Start and end of the commands that write one file or folder: score, evaluate, annotate, train_reward.

Everything is composed and checked before anything starts. Exit codes: 0 success, 1 the work failed (one line says why),
2 invalid configuration, 130 Ctrl-C, 143 SIGTERM.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from omegaconf import OmegaConf
from rich.console import Console

from launch.built_models import not_built
from launch.composition import compose
from launch.configuration import plain
from launch.output import quiet
from launch.words import parse_words
from rewards.builder import ConfigurationError, one_line
from rl.run.stopping import exit_code, install_sigterm_handler, stop_reason


@dataclass(frozen=True)
class Composed:
    """A command's configuration as plain data, the option of each group, and the flags to compose further ones."""

    config: dict[str, Any]
    choices: Mapping[str, str | None]
    flags: list[str]


class Command(ABC):
    """One start of a command. The constructor checks everything and starts nothing; `run` does the work.

    The constructor raises ValueError or OSError for a set-up that cannot work. It sets `kept`, the file or folder that
    holds the progress, and `log`, the file for the libraries' output; and `nothing_to_do`, a line to print instead of
    running, if the work is finished.
    """

    name: ClassVar[str]
    """The command is `launch.NAME`, its root configuration configs/NAME.yaml."""
    help: ClassVar[str | None]
    """The text that `--help` prints."""

    kept: Path
    log: Path
    nothing_to_do = ""

    @abstractmethod
    def __init__(self, composed: Composed) -> None: ...

    @abstractmethod
    def run(self, console: Console) -> None:
        """Do the work and print the result."""

    @classmethod
    def main(cls, words: Sequence[str] | None = None) -> int:
        """Check and run what `words` request (None: the command line). Returns the exit code."""
        install_sigterm_handler()
        try:
            command = cls._checked(list(sys.argv[1:] if words is None else words))
        except KeyboardInterrupt as error:
            print(f"error: {stop_reason(error)} before anything was done", file=sys.stderr)
            return exit_code(error)
        except (ValueError, OSError) as error:
            print(f"error: {one_line(error)}", file=sys.stderr)
            return 2
        if command is None:
            return 0
        if command.nothing_to_do:
            print(command.nothing_to_do)
            return 0
        return command._logged()

    @classmethod
    def _checked(cls, words: list[str]) -> Self | None:
        """The command, checked; None if all that was requested is printed (`--help`, `--cfg`)."""
        args = parse_words(words)
        if args.help:
            print(cls.help)
            return None
        runs = compose(words, cls.name)
        if len(runs) > 1:
            raise ConfigurationError(f"launch.{cls.name} does not run sweeps: start it once for each value")
        if args.cfg:
            print(OmegaConf.to_yaml(runs[0].config))
            return None
        flags = ["--config-dir", args.config_dir] if args.config_dir else []
        config = plain(runs[0].config)
        if missing := not_built(config):
            raise ConfigurationError(missing[0])
        return cls(Composed(config, runs[0].choices, flags))

    def _logged(self) -> int:
        """Run with the libraries' output in `log`. Returns the exit code."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with quiet(self.log) as screen:
            console = Console(file=screen)
            try:
                self.run(console)
            except (Exception, KeyboardInterrupt) as error:
                stopped = isinstance(error, KeyboardInterrupt)
                say(console, f"error: {stop_reason(error) if stopped else one_line(error)}")
                say(console, f"       progress is saved in {self.kept}; run the same command to resume")
                return exit_code(error) if stopped else 1
        return 0


def say(console: Console, line: str) -> None:
    """Print a line as it is: no markup, no colors, no breaks."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)
