"""What a run's folder says about where it comes from: command, commit, versions, and how it ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Record:
    """The origin of a run. A field that its folder does not give is None or empty.

    command: the words typed. dirty: whether the code had changes that were not committed. versions: of Python and the
    packages. state: running, finished or failed, with the reason. stages: seconds by stage; failures: failed scores by
    reason. resumed: how often it was resumed.
    """

    command: tuple[str, ...]
    commit: str | None
    dirty: bool | None
    versions: Mapping[str, str]
    machine: str | None
    time: str | None
    state: str | None
    reason: str | None
    stages: Mapping[str, float]
    failures: Mapping[str, int]
    resumed: int


def record_of(folder: Path) -> Record:
    """Read origin.json and status.json, as far as they can be read."""
    origin, status = (_mapping(folder / name) for name in ("origin.json", "status.json"))
    command, resumed = origin.get("command"), origin.get("resumed")
    python = {"python": origin["python"]} if isinstance(origin.get("python"), str) else {}
    return Record(
        command=tuple(map(str, command)) if isinstance(command, list) else (),
        commit=_text(origin, "commit"),
        dirty=origin["dirty"] if isinstance(origin.get("dirty"), bool) else None,
        versions=python | _values(origin, "packages", str),
        machine=_text(origin, "machine"),
        time=_text(origin, "time"),
        state=_text(status, "state"),
        reason=_text(status, "reason"),
        stages=_values(status, "stages", (int, float)),
        failures=_values(status, "failures", int),
        resumed=len(resumed) if isinstance(resumed, list) else 0,
    )


def _mapping(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _text(content: Mapping[str, Any], key: str) -> str | None:
    value = content.get(key)
    return value if isinstance(value, str) else None


def _values(content: Mapping[str, Any], key: str, kind: type | tuple[type, ...]) -> dict[str, Any]:
    value = content.get(key)
    return {name: one for name, one in value.items() if isinstance(one, kind)} if isinstance(value, dict) else {}
