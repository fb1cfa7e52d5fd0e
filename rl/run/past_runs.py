"""Read runs from their folders: choices and settings (origin.json, config.yaml), and metrics.jsonl."""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rl.run.resuming import FREE

STAMP = re.compile(r"^\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_")
SEED = re.compile(r"_seed(\d+)(_\d+)?$")
NO_SETTINGS = ("seed", "run_dir", "resume", "dry_run", *FREE)
"""Keys in which runs of one setting may differ."""


@dataclass(frozen=True)
class Run:
    """One run: its name, choices and settings, and the rows of metrics.jsonl by update.

    choices: the option of each configuration group; empty if origin.json does not give them.
    settings: config.yaml by dotted key, without the seed and keys that do not change results; `updates` is the last
    evaluated update of a run that has not finished. Two runs have the same setting if these are equal.
    missing_updates: how many of its configured updates a run that has not finished lacks. A run that ended early as its
    own settings say (stop_when) is finished.
    """

    name: str
    seed: str
    rows: list[dict]
    seconds: float
    folder: Path
    choices: Mapping[str, str | None]
    settings: Mapping[str, Any]
    missing_updates: int = 0

    def series(self, metric: str) -> list[tuple[int, float]]:
        """(update, value) for every row that has the metric as a finite number."""
        return [(row["update"], row[metric]) for row in self.rows if _finite(row.get(metric))]

    @property
    def last_update(self) -> int:
        """The last update that was evaluated."""
        return self.series("accuracy/held_out")[-1][0]

    @property
    def samples(self) -> int:
        """Responses drawn to train on."""
        return int(sum(count for _, count in self.series("response/count")))


def title_of(choices: Mapping[str, str | None]) -> str:
    """A run in a few words: algorithm, reward, task."""
    words = (choices.get("algorithm"), reward_of(choices), choices.get("task"))
    return " ".join(str(word or "own").replace("/", "-") for word in words)


def reward_of(choices: Mapping[str, str | None]) -> str | None:
    """The row of a matrix if there is one (it says more), else the reward."""
    return choices.get("experiment/row") or choices.get("reward")


def read_all(folders: Sequence[Path]) -> tuple[list[Run], list[tuple[Path, str]]]:
    """The runs in these folders, and the folders without a run, each with a one-line reason."""
    runs, left_out = [], []
    for folder in folders:
        try:
            runs.append(read(folder))
        except (OSError, ValueError) as error:
            left_out.append((folder, " ".join(str(error).split())))
    return sorted(runs, key=lambda run: (run.name, run.seed.zfill(9), run.folder)), left_out


def read(folder: Path) -> Run:
    """Read one run. Raises OSError or ValueError if the folder is not a run's, or has fewer than two evaluations.

    If the choices are not recorded, the run is named after its folder, without date and seed.
    """
    if not folder.is_dir():
        raise ValueError("there is no such folder")
    rows = _rows(folder / "metrics.jsonl")
    choices, asked = _choices(folder / "origin.json"), _config(folder / "config.yaml")
    title = STAMP.sub("", folder.resolve().name)
    found = SEED.search(title)
    seed = str(asked.get("seed", found.group(1) if found else ""))
    name = title_of(choices).replace(" ", "_") if choices else SEED.sub("", title)
    evaluated = [row["update"] for row in rows if isinstance(row.get("accuracy/held_out"), int | float)]
    if len(evaluated) < 2:
        raise ValueError("fewer than two evaluations in metrics.jsonl")
    settings = {key: value for key, value in _leaves(asked, "") if not key.startswith(NO_SETTINGS)}
    wanted = asked.get("updates")
    missing = _missing_updates(wanted, evaluated[-1], folder / "status.json")
    settings["updates"] = evaluated[-1] if missing or type(wanted) is not int else max(wanted, evaluated[-1])
    return Run(name, seed, rows, rows[-1]["seconds"], folder, choices, settings, missing)


def _missing_updates(wanted: Any, done: int, status: Path) -> int:
    """The configured updates that a run lacks, unless it finished by itself."""
    if type(wanted) is not int or done >= wanted:
        return 0
    state = _parsed(json.loads, _text(status), status.name) if status.exists() else {}
    return 0 if isinstance(state, dict) and state.get("state") == "finished" else wanted - done


def _rows(path: Path) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl, each with its update and seconds. An incomplete last line is left out.

    Raises OSError or ValueError, with the line number, if it cannot be read.
    """
    if not path.exists():
        raise ValueError("there is no metrics.jsonl: this is not a run, or one that has not begun")
    *lines, rest = _text(path).split("\n")
    rows = []
    for number, line in enumerate([*lines, *([rest] if rest.rstrip().endswith("}") else [])], start=1):
        row = _parsed(json.loads, line, f"metrics.jsonl, line {number}")
        if not isinstance(row, dict):
            raise ValueError(f"metrics.jsonl, line {number} is not a JSON object")
        if type(row.get("update")) is not int or not isinstance(row.get("seconds"), int | float):
            raise ValueError(f"metrics.jsonl, line {number} does not give an update and seconds as numbers")
        rows.append(row)
    return rows


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _choices(path: Path) -> dict[str, str | None]:
    """The option of each group, from origin.json; empty if the file is missing."""
    if not path.exists():
        return {}
    origin = _parsed(json.loads, _text(path), path.name)
    choices = origin.get("choices", {}) if isinstance(origin, dict) else None
    if not isinstance(choices, dict) or not all(one is None or isinstance(one, str) for one in choices.values()):
        raise ValueError(f"{path.name} does not give the choices as a mapping of names")
    return choices


def _config(path: Path) -> dict[str, Any]:
    """config.yaml as a mapping; empty if the file is missing."""
    asked = _parsed(yaml.safe_load, _text(path), path.name) if path.exists() else {}
    if not isinstance(asked, dict):
        raise ValueError(f"{path.name} is not a mapping")
    return asked


def _text(path: Path) -> str:
    """A file's text. Raises OSError or ValueError."""
    if not path.is_file():
        raise ValueError(f"{path.name} is not a file")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name} is not UTF-8 text") from error


def _parsed(parse: Callable[[str], Any], text: str, name: str) -> Any:
    try:
        return parse(text)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        kind = "YAML" if parse is yaml.safe_load else "JSON"
        raise ValueError(f"{name} is not {kind} that can be read: {str(error).splitlines()[0]}") from error


def differing(runs: Sequence[Run]) -> dict[Path, str]:
    """The settings in which runs of the same name differ, as `key=value` text per folder; empty if all agree."""
    alike: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        alike[run.name].append(run)
    said = {}
    for group in alike.values():
        keys = sorted({key for run in group for key in run.settings})
        telling = [key for key in keys if len({repr(run.settings.get(key)) for run in group}) > 1]
        for run in group:
            said[run.folder] = " ".join(f"{key}={run.settings.get(key)}" for key in telling)
    return said


def _leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _leaves(item, f"{key}.{name}" if key else str(name))
    else:
        yield key, value
