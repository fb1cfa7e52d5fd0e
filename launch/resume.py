"""`resume=FOLDER`: the configuration with which a stopped run resumes.

It is the run's own config.yaml, not the current defaults, with the other overrides on the command line applied.
`rl.run.resuming` decides which keys may change.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from rewards.builder import ConfigurationError, one_line
from rl.run import checkpoint
from rl.run.origin import origin
from rl.run_settings import RunSettings

_OVERLAYS = ("experiment", "debug")
_MISSING = object()


def configuration_of(composed: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """The configuration to resume with: that of the run in `composed["resume"]`, with `overrides` applied.

    `composed` is the plain configuration from the current defaults and the overrides; without `resume` it is returned
    unchanged. Raises ConfigurationError if the folder holds no run, and for overrides that are not single keys.
    """
    if not composed["resume"]:
        return dict(composed)
    folder = Path(composed["resume"]).absolute()
    config = _stored(folder)
    for word in overrides:
        key = word.split("=")[0].lstrip("+~").replace("/", ".").removesuffix("@")
        if key in _OVERLAYS or key == "run_dir":
            raise ConfigurationError(
                f"{word}: resume takes folder and configuration from the run; change single keys, or leave it out"
            )
        if key.split(".")[0] not in ("resume", "hydra"):
            _put(config, key.split("."), _get(composed, key.split(".")))
    return config | {"resume": str(folder), "run_dir": str(folder)}


def notes_on(settings: RunSettings, folder: Path) -> list[str]:
    """Notes for the user on resuming the run in `folder`, one line each.

    Raises ConfigurationError if it cannot resume with these settings.
    """
    try:
        changed = checkpoint.check(folder, settings)
        update = checkpoint.update_of(checkpoint.require_latest(folder))
        written = json.loads((folder / "origin.json").read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ConfigurationError(one_line(error)) from error
    return [f"resuming after update {update} of {settings.loop.updates}", *changed, *other_code(written, origin())]


def other_code(written: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """A warning line if code or packages have changed since the run started, since numbers may then differ.

    `written` and `now` are results of `rl.run.origin.origin`.
    """
    changed = [
        f"{name} {before} -> {now['packages'].get(name)}"
        for name, before in written.get("packages", {}).items()
        if now["packages"].get(name) != before
    ]
    if written.get("commit") != now["commit"] or written.get("dirty") or now["dirty"]:
        changed.insert(0, f"commit {_commit(written)} -> {_commit(now)}")
    return (
        [f"code or packages changed since the run started ({', '.join(changed)}): numbers may differ"]
        if changed
        else []
    )


def _commit(written: Mapping[str, Any]) -> str:
    return f"{str(written.get('commit'))[:10]}{' with changes' if written.get('dirty') else ''}"


def _stored(folder: Path) -> dict[str, Any]:
    file = folder / "config.yaml"
    if not file.is_file():
        raise ConfigurationError(f"resume={folder}: there is no run in this folder (no config.yaml)")
    try:
        return dict(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (yaml.YAMLError, TypeError, ValueError) as error:
        raise ConfigurationError(f"resume: {file} is not valid YAML: {one_line(error)}") from error


def _get(config: Any, path: Sequence[str]) -> Any:
    for name in path:
        if not isinstance(config, Mapping) or name not in config:
            return _MISSING
        config = config[name]
    return config


def _put(config: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """Set the value at this path, or delete it if `value` is missing."""
    *parents, last = path
    for name in parents:
        if not isinstance(config.get(name), dict):
            config[name] = {}
        config = config[name]
    if value is _MISSING:
        config.pop(last, None)
    else:
        config[last] = value
