"""Models that a command of this project makes in build/, and what is said while one is not there yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

COMMANDS = {"smollm2": "python -m launch.smollm2", "smollm2_rewards": "bash launch/smollm2_rewards.sh"}
"""The command that makes each folder of build/."""


def folder_of(name: str) -> str:
    """The folder of a model in build/, under the working folder: what `${built:NAME}` stands for."""
    return str(Path("build", name).absolute())


def hint(path: str) -> str:
    """What to run where this folder of build/ is not there; '' for any other path."""
    name = Path(path).absolute()
    build = Path("build").absolute()
    if name.exists() or not name.is_relative_to(build) or name == build:
        return ""
    command = COMMANDS.get(name.relative_to(build).parts[0])
    return f"{path} is not there yet: run {command}" if command else ""


def not_built(node: Any, key: str = "") -> list[str]:
    """A line for each model of a configuration that is not there and that a command makes; it begins with its key."""
    models = ((place, text) for place, text in _texts(node, key) if place.rpartition(".")[2] in ("model", "path"))
    return [f"{place}: {line}" for place, text in models if (line := hint(text))]


def _texts(node: Any, key: str) -> Iterator[tuple[str, str]]:
    """Every text in nested mappings and lists, with its dotted key."""
    if isinstance(node, Mapping):
        for name, value in node.items():
            yield from _texts(value, f"{key}.{name}" if key else str(name))
    elif isinstance(node, list | tuple):
        for place, value in enumerate(node):
            yield from _texts(value, f"{key}[{place}]")
    elif isinstance(node, str):
        yield key, node
