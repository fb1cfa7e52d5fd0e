"""Compose configurations from the command line: one for a run, one for every point of a sweep.

Hydra composes, through its public API. For a misspelt word, Hydra prints thirty lines; this module prints one that
suggests the nearest existing word.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import hydra
import yaml
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from launch.built_models import folder_of
from launch.words import parse_words, parsed, quoted, suggestion, word_of
from rewards.builder import ConfigurationError, nearest, one_line

CONFIG_MODULE = "configs"
SHIPPED_MODELS = Path(__file__).resolve().parent.parent / "rl" / "tasks" / "arithmetic" / "models"

HYDRA_KEYS = ("hydra.mode", "hydra.sweeper.params")
"""The keys of Hydra's own configuration that are read. The others (launchers, output folders) are refused."""


@dataclass(frozen=True)
class RunConfig:
    """One run's configuration: the overrides of its sweep point, the composed tree, and the option of each group."""

    overrides: tuple[str, ...]
    config: DictConfig
    choices: dict[str, str | None]


def register_resolvers() -> None:
    """Teach OmegaConf two kinds of model folder: `${shipped:NAME}`, which comes with the arithmetic world, and
    `${built:NAME}`, which a command makes in build/.
    """
    OmegaConf.register_new_resolver("built", folder_of, replace=True)
    OmegaConf.register_new_resolver("shipped", lambda name: str(SHIPPED_MODELS / name), replace=True)


def show(words: Sequence[str], args: argparse.Namespace) -> None:
    """Let Hydra print what the flags ask for: help, the configuration, where it was found."""
    register_resolvers()
    # Hydra reads sys.argv and needs its flags before the overrides.
    sys.argv = [sys.argv[0], *(word for word in words if word not in args.overrides), *args.overrides]
    hydra.main(version_base="1.3", config_path=f"pkg://{CONFIG_MODULE}", config_name="train")(_nothing)()


def _nothing(config: DictConfig) -> None:
    """A task function that does nothing: `show` only lets Hydra print."""


def compose(words: Sequence[str], config_name: str = "train") -> list[RunConfig]:
    """The configurations that the words request: one, or one for each point of a sweep (`-m reward=orm,prm`).

    Raises ConfigurationError, in one line, for a word that cannot be parsed or names nothing that exists.
    """
    args = parse_words(words)
    register_resolvers()
    with _hydra(args.config_dir):
        try:
            return _Composer(args.config_name or config_name, args.config_dir).compose(args.overrides, args.multirun)
        except yaml.MarkedYAMLError as error:
            place = f"{error.problem_mark.name}, line {error.problem_mark.line + 1}" if error.problem_mark else "a file"
            raise ConfigurationError(f"{place} is not valid YAML: {error.problem}") from error
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            if isinstance(error, ConfigurationError):
                raise
            raise ConfigurationError(one_line(error)) from error


class _Composer:
    """Composes configurations from one root file; Hydra must be initialised."""

    def __init__(self, name: str, config_dir: str | None) -> None:
        self.name = name
        self.loader = GlobalHydra.instance().config_loader()
        self.parser = OverridesParser.create(config_loader=self.loader)
        self.groups = _own_groups() if config_dir is None else _groups(self.loader)

    def compose(self, words: Sequence[str], multirun: bool) -> list[RunConfig]:
        """See `compose` of this module."""
        overrides = [parsed(self.parser, word) for word in words]
        for override in overrides:
            self._check_group(override)
        swept = [override for override in overrides if override.is_sweep_override()]
        chosen = [override for override in overrides if override not in swept and self._chooses(override)]
        base = self._tree([word_of(override) for override in chosen])
        self._check_keys(base, overrides)
        how = base.hydra
        if not multirun and how.mode != RunMode.MULTIRUN:
            if swept:
                word = word_of(swept[0])
                fixed = quoted(self.parser, word)
                hint = f", or quote the value if it is one text: {fixed}" if fixed else ""
                raise ConfigurationError(f"{word} is a sweep over several values: add -m to run each of them{hint}")
            return [self._composed([word_of(override) for override in overrides])]
        configured = [f"{key}={value}" for key, value in (how.sweeper.params or {}).items()]
        sweep = [*self.parser.parse_overrides(configured), *overrides]
        for override in sweep:
            self._check_group(override)
        return [self._composed(point) for point in _points(sweep)]

    def _tree(self, words: Sequence[str]) -> DictConfig:
        """Hydra's composition of the words, including its own `hydra` node."""
        return hydra.compose(self.name, list(words), return_hydra_config=True)

    def _composed(self, words: Sequence[str]) -> RunConfig:
        """Hydra's composition of the words, without its own `hydra` node."""
        try:
            config = self._tree(words)
        except HydraException:
            overrides = self.parser.parse_overrides(list(words))
            chosen = [word_of(override) for override in overrides if self._chooses(override)]
            self._check_keys(self._tree(chosen), overrides)  # gives a better message for an unknown key
            raise
        choices = dict(config.hydra.runtime.choices)
        for kind in ("launcher", "sweeper"):
            if choices.get(f"hydra/{kind}") != "basic":
                raise ConfigurationError(
                    f"hydra/{kind}={choices[f'hydra/{kind}']}: runs of a sweep follow each other here"
                )
        with _open(config):
            del config["hydra"]
            if OmegaConf.is_list(config.get("watch")):
                config.watch = {str(name): self._reward(str(name)) for name in config.watch}
        return RunConfig(tuple(words), config, choices)

    def _reward(self, name: str) -> Any:
        """The node of the group reward's option `name`, resolved, for a reward that is only watched."""
        options = self.loader.get_group_options("reward")
        if name not in options:
            raise ConfigurationError(
                f"watch: there is no reward {name!r}{nearest(name, options)} (configs/reward: {', '.join(options)})"
            )
        return OmegaConf.to_container(self._tree([f"reward={name}"]).reward, resolve=True)

    def _chooses(self, override: Override) -> bool:
        """Whether it decides which keys exist, or how a sweep runs."""
        return override.key_or_group in self.groups or override.key_or_group.startswith("hydra.")

    def _check_group(self, override: Override) -> None:
        """Refuse an option that a group does not have."""
        group = override.key_or_group
        if group not in self.groups or override.is_delete():
            return
        options = self.loader.get_group_options(group)
        for value in _values(override):
            if value not in options and "/" not in value:
                raise ConfigurationError(
                    f"{group}={value}: there is no {group} {value!r}{nearest(value, options)} "
                    f"(configs/{group}: {', '.join(sorted(options))})"
                )

    def _check_keys(self, base: DictConfig, overrides: Sequence[Override]) -> None:
        """Refuse a key that the chosen groups, composed in `base`, do not have.

        `+key=value` is checked later, with the nodes. The keys of a swept group are known only at each point. A swept
        experiment also chooses the options of other groups.
        """
        swept = {override.key_or_group for override in overrides if override.is_sweep_override()} & set(self.groups)
        if any(group.startswith("experiment") for group in swept):
            return
        asked = [
            override.key_or_group
            for override in overrides
            if not (override.is_add() or override.is_force_add() or "/" in override.key_or_group)
            and override.key_or_group not in self.groups
            and override.key_or_group.split(".")[0] not in swept
        ]
        known = [key for key in _keys(base) if key.split(".")[0] != "hydra"]
        for key in asked:
            if key.startswith("hydra.") and not key.startswith(HYDRA_KEYS):
                raise ConfigurationError(
                    f"{key} has no effect: of Hydra's own keys only {', '.join(HYDRA_KEYS)} are read"
                )
            if key not in known and not key.startswith("hydra."):
                raise ConfigurationError(f"there is no key {key}{suggestion(key, [*known, *self.groups])}")


def _groups(loader: ConfigLoader, inside: str = "") -> list[str]:
    """Every group by its path, such as `experiment` and `experiment/row`."""
    found = [f"{inside}{name}" for name in loader.list_groups(inside.rstrip("/"))]
    inner = [group for outer in found for group in _groups(loader, f"{outer}/")]
    return [group for group in found if loader.get_group_options(group, ObjectType.CONFIG)] + inner


@cache
def _own_groups() -> list[str]:
    """The groups of this project's configs. They never change, and listing them takes half of a composition's time."""
    return _groups(GlobalHydra.instance().config_loader())


def _points(sweep: Sequence[Override]) -> list[tuple[str, ...]]:
    """The words of every point of a sweep, the last key varying fastest. If a key is given twice, the last one wins."""
    choices: dict[str, list[str]] = {}
    for override in sweep:
        key = override.get_key_element()
        if not override.is_sweep_override():
            choices[key] = [word_of(override)]
        elif override.is_discrete_sweep():
            choices[key] = [f"{key}={value}" for value in override.sweep_string_iterator()]
        else:
            raise ConfigurationError(
                f"{word_of(override)}: only lists and ranges can be swept, as seed=1,2 or range(1,5)"
            )
    return list(itertools.product(*choices.values()))


def _values(override: Override) -> list[str]:
    if override.is_sweep_override():
        return (
            [value.strip("'\"") for value in override.sweep_string_iterator()] if override.is_discrete_sweep() else []
        )
    value = override.value()
    return [str(item) for item in value] if isinstance(value, list) else ["null" if value is None else str(value)]


def _keys(config: Any, prefix: str = "") -> Iterator[str]:
    """Dotted names of every key, inner and outer, without resolving anything."""
    if isinstance(config, DictConfig) and not config._is_none() and not config._is_missing():
        for name in map(str, config):
            yield f"{prefix}{name}"
            yield from _keys(config._get_node(name), f"{prefix}{name}.")


class _OwnFolder(SearchPathPlugin):
    """Makes Hydra search the folder of `--config-dir` after this project's configs."""

    folder: ClassVar[str | None] = None

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """See Hydra's SearchPathPlugin."""
        if self.folder is not None:
            search_path.append("command-line", f"file://{self.folder}")


@contextmanager
def _hydra(config_dir: str | None) -> Iterator[None]:
    """Initialise Hydra with this project's configs and the user's own folder (`--config-dir`)."""
    if config_dir is not None and not os.path.isdir(config_dir):
        raise ConfigurationError(f"--config-dir: there is no folder {config_dir}")
    if _OwnFolder not in Plugins.instance().discover(SearchPathPlugin):
        Plugins.instance().register(_OwnFolder)
    _OwnFolder.folder = None if config_dir is None else os.path.abspath(config_dir)
    try:
        with hydra.initialize_config_module(CONFIG_MODULE, version_base="1.3"):
            yield
    finally:
        _OwnFolder.folder = None


@contextmanager
def _open(config: DictConfig) -> Iterator[None]:
    """Make a configuration that Hydra has closed writable for the block."""
    OmegaConf.set_readonly(config, False)
    OmegaConf.set_struct(config, False)
    try:
        yield
    finally:
        OmegaConf.set_struct(config, True)
