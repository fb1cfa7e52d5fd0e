"""From the words typed to composed configurations: one for a run, one for every point of a sweep.

Hydra does the composing. What it would answer to a misspelt word with thirty lines is answered here with one, which
names the nearest word that exists.
"""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml
from hydra import version
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rewards.builder import ConfigurationError, elsewhere, nearest, one_line

CONFIG_PACKAGE = "pkg://configs"
SHIPPED_MODELS = Path(__file__).resolve().parent.parent / "rl" / "tasks" / "arithmetic" / "models"


@dataclass(frozen=True)
class Composed:
    """One run's configuration: the overrides of its sweep point, the composed tree, and the option of each group."""

    overrides: tuple[str, ...]
    config: DictConfig
    choices: dict[str, str | None]


def register_resolvers() -> None:
    """Teach OmegaConf `${shipped:NAME}`: the folder of a model that comes with the arithmetic world."""
    OmegaConf.register_new_resolver("shipped", lambda name: str(SHIPPED_MODELS / name), replace=True)


def parse_words(words: Sequence[str]) -> argparse.Namespace:
    """Hydra's own flags and the overrides. Raises ConfigurationError for a flag that Hydra does not know."""
    parser = get_args_parser()
    flags = [flag for action in parser._actions for flag in action.option_strings]

    def refuse(message: str) -> NoReturn:
        unknown = message.removeprefix("unrecognized arguments: ").split()[0]
        hint = nearest(unknown, flags) if message.startswith("unrecognized") else ""
        raise ConfigurationError(f"{message}{hint}; options of a run are written without dashes, as reward=orm")

    parser.error = refuse  # type: ignore[method-assign]
    return parser.parse_intermixed_args(list(words))


def compose(words: Sequence[str], config_name: str = "train") -> list[Composed]:
    """Every configuration that the words ask for: one, or one a point of a sweep (`-m reward=orm,prm`).

    Raises ConfigurationError, in one line, for a word that cannot be read or names nothing.
    """
    args = parse_words(words)
    register_resolvers()
    with _hydra(args.config_dir) as hydra:
        try:
            return _compose_all(hydra, args.config_name or config_name, list(args.overrides), bool(args.multirun))
        except yaml.MarkedYAMLError as error:
            place = f"{error.problem_mark.name}, line {error.problem_mark.line + 1}" if error.problem_mark else "a file"
            raise ConfigurationError(f"{place} is not valid YAML: {error.problem}") from error
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            if isinstance(error, ConfigurationError):
                raise
            raise ConfigurationError(one_line(error)) from error


def _compose_all(hydra: Hydra, name: str, words: list[str], multirun: bool) -> list[Composed]:
    parser = OverridesParser.create(config_loader=hydra.config_loader)
    overrides = [_parsed(parser, word) for word in words]
    for override in overrides:
        _check_group(hydra, override)
    _check_keys(hydra, name, overrides)
    plain = [_word(override) for override in overrides if not override.is_sweep_override()]
    chosen = [word for word in plain if word.split("=")[0] in _groups(hydra) or word.startswith("hydra.")]
    how = hydra.compose_config(name, chosen, run_mode=RunMode.RUN, with_log_configuration=False).hydra
    if not multirun and how.mode != RunMode.MULTIRUN:
        if len(plain) < len(overrides):
            swept = next(_word(override) for override in overrides if override.is_sweep_override())
            quoted = _quoted(parser, swept)
            hint = f", or quote the value if it is one text: {quoted}" if quoted else ""
            raise ConfigurationError(f"{swept} is a sweep over several values: add -m to run each of them{hint}")
        return [_composed(hydra, name, plain)]
    if how.sweeper._target_ != f"{BasicSweeper.__module__}.{BasicSweeper.__name__}":
        return [_composed(hydra, name, plain)]  # other sweepers choose their points as they go
    configured = [f"{key}={value}" for key, value in (how.sweeper.params or {}).items()]
    sweep = parser.parse_overrides(configured + [_word(override) for override in overrides])
    for override in sweep:
        _check_group(hydra, override)
    points = [point for batch in BasicSweeper.split_arguments(sweep, None) for point in batch]
    composed = [_composed(hydra, name, point) for point in points]
    try:  # as Hydra itself does before it begins a sweep
        hydra.compose_config(name, words, run_mode=RunMode.MULTIRUN, with_log_configuration=False)
    except HydraException as error:
        hint = "a key of an option that an experiment sweeps is written with ++, as ++reward.model=FOLDER"
        raise ConfigurationError(f"{one_line(error)} {hint}") from error
    return composed


def _composed(hydra: Hydra, name: str, overrides: list[str]) -> Composed:
    """What Hydra composes of the overrides, without Hydra's own part."""
    try:
        config = hydra.compose_config(name, list(overrides), run_mode=RunMode.RUN, with_log_configuration=False)
    except HydraException:
        parser = OverridesParser.create(config_loader=hydra.config_loader)
        _check_keys(hydra, name, parser.parse_overrides(list(overrides)))  # says more of a key that is not there
        raise
    choices = dict(config.hydra.runtime.choices)
    with _open(config):
        del config["hydra"]
    return Composed(tuple(overrides), config, choices)


def _parsed(parser: OverridesParser, word: str) -> Override:
    try:
        return parser.parse_overrides([word])[0]
    except HydraException as error:
        key, given, _ = word.partition("=")
        quoted = _quoted(parser, word)
        hint = f"quote the value: {quoted}" if quoted else "an override is written key=value"
        what = f"the value of {key}" if given and quoted else repr(word)
        raise ConfigurationError(f"cannot read {what} ({one_line(error)}): {hint}") from error


def _quoted(parser: OverridesParser, word: str) -> str | None:
    """The word as a shell takes it, its value quoted so that Hydra reads it as text; None where that does not help."""
    key, _, value = word.partition("=")
    if not value or "${" in value:  # quotes do not keep OmegaConf from replacing ${...}
        return None
    for mark in ("'", '"'):
        quoted = f"{key}={mark}{value}{mark}"
        try:
            [override] = parser.parse_overrides([quoted])
            if mark not in value and override.value() == value:
                return f'"{quoted}"' if mark == "'" and not set('"$`\\!') & set(value) else shlex.quote(quoted)
        except HydraException:
            continue
    return None


def _word(override: Override) -> str:
    """The override as it was typed."""
    return override.input_line or ""


def _check_group(hydra: Hydra, override: Override) -> None:
    """Refuse an option that a group does not have."""
    group = override.key_or_group
    if group not in _groups(hydra) or override.is_delete():
        return
    options = hydra.config_loader.get_group_options(group)
    for value in _values(override):
        if value not in options and "/" not in value:
            raise ConfigurationError(
                f"{group}={value}: there is no {group} {value!r}{nearest(value, options)} "
                f"(configs/{group}: {', '.join(sorted(options))})"
            )


def _check_keys(hydra: Hydra, name: str, overrides: list[Override]) -> None:
    """Refuse a key that the chosen groups do not have (`+key=value` is left to the check of the nodes)."""
    groups = _groups(hydra)
    swept = {override.key_or_group for override in overrides if override.is_sweep_override()}
    asked = [
        override.key_or_group
        for override in overrides
        if not (override.is_add() or override.is_force_add() or "/" in override.key_or_group)
        and override.key_or_group not in groups
        and override.key_or_group.split(".")[0] not in {"hydra", *swept.intersection(groups)}
    ]
    if not asked or any(group.startswith("experiment") for group in swept):
        return  # experiments choose other groups' options: their keys are known only at each point of the sweep
    chosen = [_word(override) for override in overrides if override.key_or_group in set(groups) - swept]
    config = hydra.compose_config(name, chosen, run_mode=RunMode.MULTIRUN, with_log_configuration=False)
    with _open(config):
        del config["hydra"]
    known = list(_keys(config))
    for key in asked:
        if key not in known:
            raise ConfigurationError(f"there is no key {key}{_suggestion(key, [*known, *groups])}")


def _suggestion(key: str, known: Sequence[str]) -> str:
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
    return nearest(key, known) or "; python -m launch.train --help lists what there is"


def _values(override: Override) -> list[str]:
    if override.is_sweep_override():
        return (
            [value.strip("'\"") for value in override.sweep_string_iterator()] if override.is_discrete_sweep() else []
        )
    value = override.value()
    return [str(item) for item in value] if isinstance(value, list) else ["null" if value is None else str(value)]


def _groups(hydra: Hydra, inside: str = "") -> list[str]:
    """Every group by its path, `experiment` and `experiment/row`."""
    loader = hydra.config_loader
    found = [f"{inside}{name}" for name in loader.list_groups(inside.rstrip("/"))]
    inner = [group for outer in found for group in _groups(hydra, f"{outer}/")]
    return [group for group in found if loader.get_group_options(group, ObjectType.CONFIG)] + inner


def _keys(config: Any, prefix: str = "") -> Iterator[str]:
    """Dotted names of every key, inner and outer, without resolving anything."""
    if isinstance(config, DictConfig) and not config._is_none() and not config._is_missing():
        for name in map(str, config):
            yield f"{prefix}{name}"
            yield from _keys(config._get_node(name), f"{prefix}{name}.")


@contextmanager
def _hydra(config_dir: str | None) -> Iterator[Hydra]:
    """Hydra over this project's configs and the person's own folder (`--config-dir`), searched after it."""
    version.setbase("1.3")
    search_path = create_config_search_path(CONFIG_PACKAGE)
    assert isinstance(search_path, ConfigSearchPathImpl)
    if config_dir is not None:
        if not os.path.isdir(config_dir):
            raise ConfigurationError(f"--config-dir: there is no folder {config_dir}")
        search_path.prepend("command-line", f"file://{os.path.abspath(config_dir)}", SearchPathQuery(provider="schema"))
    GlobalHydra.instance().clear()
    try:
        yield Hydra.create_main_hydra2(task_name="train", config_search_path=search_path)
    finally:
        GlobalHydra.instance().clear()


@contextmanager
def _open(config: DictConfig) -> Iterator[None]:
    """A configuration that Hydra has closed, open for a change."""
    OmegaConf.set_readonly(config, False)
    OmegaConf.set_struct(config, False)
    try:
        yield
    finally:
        OmegaConf.set_struct(config, True)
