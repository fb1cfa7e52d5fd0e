"""Runs read back from their folders: what they were made with (origin.json, config.yaml), and metrics.jsonl."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
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
    """One run: its name, what it was made with, and what metrics.jsonl says, by update.

    choices: the option of each configuration group, empty where origin.json does not say.
    settings: config.yaml by dotted key, without the seed and what does not change results; `updates` are those that
    were evaluated. Two runs are of one setting if these are equal.
    """

    name: str
    seed: str
    rows: list[dict]
    seconds: float
    folder: Path
    choices: Mapping[str, str | None]
    settings: Mapping[str, Any]

    def series(self, metric: str) -> list[tuple[int, float]]:
        """(update, value) wherever the metric was written."""
        return [(row["update"], row[metric]) for row in self.rows if isinstance(row.get(metric), int | float)]

    @property
    def samples(self) -> int:
        """Responses drawn to train on."""
        return int(sum(count for _, count in self.series("response/count")))


def title_of(choices: Mapping[str, str | None]) -> str:
    """A run in a few words: algorithm, reward, task."""
    words = (choices.get("algorithm"), reward_of(choices), choices.get("task"))
    return " ".join(str(word or "own").replace("/", "-") for word in words)


def reward_of(choices: Mapping[str, str | None]) -> str | None:
    """The reward that was chosen, or the row of a matrix, which says more."""
    return choices.get("experiment/row") or choices.get("reward")


def read_all(folders: Sequence[Path]) -> tuple[list[Run], list[tuple[Path, str]]]:
    """The runs in these folders, and the folders that hold none with the reason."""
    runs, left_out = [], []
    for folder in folders:
        try:
            runs.append(read(folder))
        except (OSError, ValueError, yaml.YAMLError) as error:
            left_out.append((folder, " ".join(str(error).split())))
    return sorted(runs, key=lambda run: (run.name, run.seed.zfill(9), run.folder)), left_out


def read(folder: Path) -> Run:
    """One run. Raises OSError or ValueError where it has not been evaluated twice.

    A folder that does not say what was chosen gives its own name to the run, without date and seed.
    """
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    origin, config = folder / "origin.json", folder / "config.yaml"
    choices = json.loads(origin.read_text(encoding="utf-8")).get("choices", {}) if origin.is_file() else {}
    asked = yaml.safe_load(config.read_text(encoding="utf-8")) if config.is_file() else {}
    title = STAMP.sub("", folder.resolve().name)
    found = SEED.search(title)
    seed = str(asked.get("seed", found.group(1) if found else ""))
    name = title_of(choices).replace(" ", "_") if choices else SEED.sub("", title)
    evaluated = [row["update"] for row in rows if "accuracy/held_out" in row]
    if len(evaluated) < 2:
        raise ValueError("fewer than two evaluations in metrics.jsonl")
    settings = {key: value for key, value in _leaves(asked, "") if not key.startswith(NO_SETTINGS)}
    return Run(name, seed, rows, rows[-1]["seconds"], folder, choices, settings | {"updates": evaluated[-1]})


def differing(runs: Sequence[Run]) -> dict[Path, str]:
    """What tells each run's setting from the others of its name, as `key=value`; empty where all have one setting."""
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
