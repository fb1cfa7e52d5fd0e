"""Checkpoints of a run: the state of the learner and the loop, so that a stopped run resumes bit for bit.

checkpoints/update-000020/
    learner/     weights, optimizer and schedule, as the learner writes them
    state.json   the loop's state and the settings

A checkpoint is written to a temporary folder and renamed when complete: a folder with its name is always complete. The
sampler needs no state, since its seed is a function of the update and its weights are the learner's. Rewards need none
either: their randomness is seeded by their inputs.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from rl.metrics import Stopwatch
from rl.progress import Evaluation
from rl.run.resuming import compare, flat, refuse_running_or_finished
from rl.run_settings import RunSettings

FOLDER = "checkpoints"
_STATE = "state.json"
_LEARNER = "learner"
_GROWING = ("metrics.jsonl", "samples.jsonl")
"""Files that a run appends to. Lines written after a checkpoint are cut off when the run resumes from it."""


class Checkpointable(Protocol):
    """The part of the learner that checkpoints need."""

    def save_checkpoint(self, folder: Path) -> None:
        """Write everything that training needs to continue bit for bit."""

    def load_checkpoint(self, folder: Path) -> None:
        """Read what `save_checkpoint` wrote."""


@dataclass
class LoopState:
    """What the loop remembers from one update to the next.

    `update` counts the updates done, `problems` the training problems they took from the task's stream (not those drawn
    for a later update). `before` and `last` are the first and the latest evaluation. `failed` counts failed scores by
    reason, `skipped` the updates with nothing to learn from, and `scoreless` the latest consecutive updates without a
    usable score.
    """

    before: Evaluation
    last: Evaluation
    update: int = 0
    problems: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    skipped: int = 0
    scoreless: int = 0

    @classmethod
    def at_start(cls, first: Evaluation) -> LoopState:
        """The state before any update, with the evaluation of the initial policy."""
        return cls(before=first, last=first)


class Checkpoints:
    """The checkpoints of one run: one every `every` updates (0: none); only the latest `kept` stay."""

    def __init__(self, run: Path, settings: RunSettings) -> None:
        self.run, self.settings = run, settings
        self.every, self.kept = settings.loop.checkpoint_every, settings.loop.checkpoints_kept

    def due(self, update: int) -> bool:
        """Whether to save a checkpoint after this update."""
        return self.every > 0 and update % self.every == 0

    def save(self, state: LoopState, learner: Checkpointable, watch: Stopwatch) -> Path:
        """Write a checkpoint, then remove all but the latest `kept`. Returns its folder.

        Raises OSError or RuntimeError if it cannot be written; earlier checkpoints are then untouched.
        """
        place = self.run / FOLDER / f"update-{state.update:06d}"
        half = place.with_suffix(".part")
        shutil.rmtree(half, ignore_errors=True)
        learner.save_checkpoint(half / _LEARNER)
        sizes = {name: _size(self.run / name) for name in _GROWING}
        algorithm = self.settings.algorithm
        content = {
            "update": state.update,
            "problems": state.problems,
            "before": asdict(state.before),
            "last": asdict(state.last),
            "failed": dict(state.failed),
            "skipped": state.skipped,
            "scoreless": state.scoreless,
            "algorithm": algorithm.state(),
            "seconds": watch.seconds,
            "stages": watch.totals,
            "sizes": sizes,
            "settings": flat(self.settings),
        }
        (half / _STATE).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        shutil.rmtree(place, ignore_errors=True)
        half.rename(place)
        for old in _all(self.run)[: -self.kept]:
            shutil.rmtree(old)
        return place

    def restore(self, learner: Checkpointable, watch: Stopwatch) -> LoopState:
        """Load the latest checkpoint into the learner, the algorithm and the stopwatch; returns the loop's state.

        Raises ValueError as `check` does, and FileNotFoundError if there is no checkpoint.
        """
        check(self.run, self.settings)
        folder = require_latest(self.run)
        content = read_state(folder)
        learner.load_checkpoint(folder / _LEARNER)
        self.settings.algorithm.load_state(content["algorithm"])
        watch.add(content["stages"], content["seconds"])
        return LoopState(
            before=Evaluation(**content["before"]),
            last=Evaluation(**content["last"]),
            update=content["update"],
            problems=content["problems"],
            failed=Counter(content["failed"]),
            skipped=content.get("skipped", 0),
            scoreless=content.get("scoreless", 0),
        )


def latest(run: Path) -> Path | None:
    """The folder of a run's latest checkpoint, or None."""
    found = _all(run)
    return found[-1] if found else None


def require_latest(run: Path) -> Path:
    """The folder of a run's latest checkpoint. Raises FileNotFoundError if there is none."""
    found = latest(run)
    if found is None:
        raise FileNotFoundError(
            f"resume: {run} has no checkpoint to resume from (checkpoint_every sets how often one is written): start "
            "a new run"
        )
    return found


def update_of(checkpoint: Path) -> int:
    """The number of updates done when this checkpoint was written."""
    return int(checkpoint.name.removeprefix("update-"))


def cut_back(run: Path) -> None:
    """Cut off the lines written after the latest checkpoint; the resumed run writes them again.

    Raises ValueError if a file is shorter than it was at the checkpoint, which means that lines were lost.
    """
    content = read_state(require_latest(run))
    for name, size in content["sizes"].items():
        present = _size(run / name)
        if present < size:
            raise ValueError(
                f"resume: {run / name} has {present} bytes, but had {size} at the checkpoint: lines were lost"
            )
        if present > size:
            with (run / name).open("r+b") as file:
                file.truncate(size)


def check(run: Path, settings: RunSettings) -> list[str]:
    """Check, before anything starts, that a run can resume from its latest checkpoint with these settings.

    Returns notes on changed settings that affect results by rounding only. Raises FileNotFoundError if there is no
    checkpoint, and ValueError if the run has finished or is still running, or lists the settings that must not differ.
    """
    content = read_state(require_latest(run))
    refuse_running_or_finished(run, settings.loop.updates)
    return compare(run, content["settings"], settings)


def seconds_of(checkpoint: Path) -> float:
    """The seconds that the run had taken when this checkpoint was written."""
    return float(read_state(checkpoint)["seconds"])


def _all(run: Path) -> list[Path]:
    """The finished checkpoints of a run, oldest first."""
    return sorted(path for path in (run / FOLDER).glob("update-*[0-9]") if (path / _STATE).is_file())


def read_state(checkpoint: Path) -> dict[str, Any]:
    """The content of a checkpoint's state.json. Raises ValueError if it is not valid JSON."""
    file = checkpoint / _STATE
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except json.JSONDecodeError as error:
        raise ValueError(f"resume: {file} is not valid JSON ({error.msg}): remove this checkpoint") from error


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0
