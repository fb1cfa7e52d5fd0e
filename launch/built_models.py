"""Models that this project's commands make in build/, and the hint that is shown if one is missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

COMMANDS = {"smollm2": "python -m launch.smollm2", "smollm2_rewards": "bash launch/smollm2_rewards.sh"}
"""The command that makes each folder in build/."""


def folder_of(name: str) -> str:
    """The folder of a model in build/, below the working directory; `${built:NAME}` in a configuration."""
    return str(Path("build", name).absolute())


def hint(path: str) -> str:
    """The command to run if this folder in build/ does not exist; '' for any other path."""
    name = Path(path).absolute()
    build = Path("build").absolute()
    if name.exists() or not name.is_relative_to(build) or name == build:
        return ""
    command = COMMANDS.get(name.relative_to(build).parts[0])
    return f"{path} does not exist yet: run {command}" if command else ""


def not_built(node: Any, key: str = "") -> list[str]:
    """One line for each missing model in a configuration that a command can make; it starts with the model's key."""
    models = ((place, text) for place, text in _texts(node, key) if place.rpartition(".")[2] in ("model", "path"))
    return [f"{place}: {line}" for place, text in models if (line := hint(text))]


def _texts(node: Any, key: str) -> Iterator[tuple[str, str]]:
    """All texts in nested mappings and lists, with their dotted keys."""
    if isinstance(node, Mapping):
        for name, value in node.items():
            yield from _texts(value, f"{key}.{name}" if key else str(name))
    elif isinstance(node, list | tuple):
        for place, value in enumerate(node):
            yield from _texts(value, f"{key}[{place}]")
    elif isinstance(node, str):
        yield key, node
