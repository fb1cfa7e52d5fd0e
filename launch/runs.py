"""Runs read back from their folders: what metrics.jsonl says, under the name without date and seed."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

STAMP = re.compile(r"^\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_")
SEED = re.compile(r"_seed(\d+)(_\d+)?$")


@dataclass(frozen=True)
class Run:
    """One run's numbers: its name without date and seed, and what metrics.jsonl says, by update."""

    name: str
    seed: str
    rows: list[dict]
    seconds: float
    folder: Path

    def series(self, metric: str) -> list[tuple[int, float]]:
        """(update, value) wherever the metric was written."""
        return [(row["update"], row[metric]) for row in self.rows if isinstance(row.get(metric), int | float)]

    @property
    def samples(self) -> int:
        """Responses drawn to train on."""
        return int(sum(count for _, count in self.series("response/count")))


def read_all(folders: Sequence[Path]) -> tuple[list[Run], list[tuple[Path, str]]]:
    """The runs in these folders, and the folders that hold none with the reason."""
    runs, left_out = [], []
    for folder in folders:
        try:
            runs.append(read(folder))
        except (OSError, ValueError) as error:
            left_out.append((folder, str(error)))
    return sorted(runs, key=lambda run: (run.name, run.seed)), left_out


def read(folder: Path) -> Run:
    """One run. Raises OSError or ValueError where it has not been evaluated twice."""
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    title = STAMP.sub("", folder.resolve().name)
    seed = SEED.search(title)
    run = Run(SEED.sub("", title), seed.group(1) if seed else "", rows, rows[-1]["seconds"] if rows else 0.0, folder)
    if len(run.series("accuracy/held_out")) < 2:
        raise ValueError("fewer than two evaluations in metrics.jsonl")
    return run
