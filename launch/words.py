"""Parse the words of a command line into flags and overrides, with suggestions for misspelt ones."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from typing import NoReturn

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from rewards.builder import ConfigurationError, elsewhere, nearest, one_line


def parse_words(words: Sequence[str]) -> argparse.Namespace:
    """The flags and the overrides, in any order. Raises ConfigurationError for an unknown flag.

    `shows` is true if Hydra should print something (help, the configuration) instead of starting a run.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--multirun", "-m", action="store_true")
    parser.add_argument("--config-dir", "-cd")
    parser.add_argument("--config-name", "-cn")
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("--hydra-help", action="store_true")
    parser.add_argument("--shell-completion", "-sc", action="store_true")
    parser.add_argument("--info", "-i", nargs="?", const="all")
    parser.add_argument("--cfg", "-c", choices=["job", "hydra", "all"])
    parser.add_argument("--resolve", action="store_true")
    parser.add_argument("--package", "-p")
    flags = [flag for action in parser._actions for flag in action.option_strings]

    def refuse(message: str) -> NoReturn:
        unknown = message.removeprefix("unrecognized arguments: ").split()[0]
        hint = nearest(unknown, flags) if message.startswith("unrecognized") else ""
        raise ConfigurationError(f"{message}{hint}; options of a run are written without dashes, as reward=orm")

    parser.error = refuse  # type: ignore[method-assign]
    args = parser.parse_intermixed_args(list(words))
    args.shows = bool(args.help or args.hydra_help or args.shell_completion or args.info or args.cfg)
    return args


def parsed(parser: OverridesParser, word: str) -> Override:
    """Parse the word as an override. Raises ConfigurationError, with the right quoting if quotes are missing."""
    try:
        return parser.parse_overrides([word])[0]
    except HydraException as error:
        key, given, _ = word.partition("=")
        fixed = quoted(parser, word)
        hint = f"quote the value: {fixed}" if fixed else "an override is written key=value"
        what = f"the value of {key}" if given and fixed else repr(word)
        raise ConfigurationError(f"cannot read {what} ({one_line(error)}): {hint}") from error


def quoted(parser: OverridesParser, word: str) -> str | None:
    """The word for a shell, its value quoted so that Hydra reads it as text; None if that does not help."""
    key, _, value = word.partition("=")
    if not value or "${" in value:  # quotes do not keep OmegaConf from replacing ${...}
        return None
    for mark in ("'", '"'):
        trial = f"{key}={mark}{value}{mark}"
        try:
            [override] = parser.parse_overrides([trial])
            if mark not in value and override.value() == value:
                return f'"{trial}"' if mark == "'" and not set('"$`\\!') & set(value) else shlex.quote(trial)
        except HydraException:
            continue
    return None


def word_of(override: Override) -> str:
    """The override as it was typed."""
    return override.input_line or ""


def suggestion(key: str, known: Sequence[str]) -> str:
    """The nearest known key: the same last word elsewhere, then its siblings, then any."""
    if hint := elsewhere(key):
        return hint
    parent, _, last = key.rpartition(".")
    same = [candidate for candidate in known if candidate.rpartition(".")[2] == last]
    if len(same) == 1:
        return f"; did you mean {same[0]}?"
    siblings = [
        candidate.rpartition(".")[2]
        for candidate in known
        if candidate.rpartition(".")[0] == parent and not candidate.endswith("_target_")
    ]
    if hint := nearest(last, siblings):
        return hint if not parent else hint.replace("mean ", f"mean {parent}.")
    if parent and siblings:
        return f"; {parent} has {', '.join(siblings)}"
    return nearest(key, known) or "; python -m launch.train --help lists all keys"
