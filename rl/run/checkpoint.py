"""Checkpoints of a run: the learner, and all that the loop remembers, so that a stopped run resumes bit for bit.

checkpoints/update-000020/
    learner/     weights, optimizer and schedule, as the learner writes them
    state.json   how far the run had come, and under which settings

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
"""Files of a run that grow by lines: lines written after a checkpoint are cut off when the run resumes from it."""


class Checkpointable(Protocol):
    """The part of the learner that checkpoints need."""

    def save_checkpoint(self, folder: Path) -> None:
        """Write everything that training needs to continue bit for bit."""

    def load_checkpoint(self, folder: Path) -> None:
        """Read what `save_checkpoint` wrote."""


@dataclass
class LoopState:
    """What the loop remembers from one update to the next.

    `update` counts the updates done, `problems` the training problems that they took from the task's stream (not those
    which were drawn for an update that is still to come). `before` and `last`
    are the first and the latest evaluation, `failed` counts failed scores by reason. `skipped` counts the updates that
    had nothing to learn from, `scoreless` the latest ones in a row that had no score which could be used.
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
        """Before any update, with the evaluation of the policy as it came."""
        return cls(before=first, last=first)


class Checkpoints:
    """The checkpoints of one run: `every` so many updates (0: none), of which the latest `kept` stay."""

    def __init__(self, run: Path, settings: RunSettings) -> None:
        self.run, self.settings = run, settings
        self.every, self.kept = settings.loop.checkpoint_every, settings.loop.checkpoints_kept

    def due(self, update: int) -> bool:
        """Whether the run is to be saved after this update."""
        return self.every > 0 and update % self.every == 0

    def save(self, state: LoopState, learner: Checkpointable, watch: Stopwatch) -> Path:
        """Write a checkpoint, then remove the ones beyond `kept`. Returns its folder.

        Raises OSError or RuntimeError where it cannot be written; the checkpoints before it are untouched then.
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
        """Load the latest checkpoint into the learner, the algorithm and the stopwatch; returns the loop's own state.

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
    """The folder of a run's latest checkpoint, None where it has none."""
    found = _all(run)
    return found[-1] if found else None


def require_latest(run: Path) -> Path:
    """The folder of a run's latest checkpoint. Raises FileNotFoundError where it has none."""
    found = latest(run)
    if found is None:
        raise FileNotFoundError(
            f"resume: {run} has no checkpoint to resume from (checkpoint_every says how often one is written): start "
            "the run anew"
        )
    return found


def update_of(checkpoint: Path) -> int:
    """The number of updates done when this checkpoint was written."""
    return int(checkpoint.name.removeprefix("update-"))


def cut_back(run: Path) -> None:
    """Cut off the lines that were written after the latest checkpoint: the resumed run writes the same ones again.

    Raises ValueError where a file is shorter than it was at the checkpoint, so that lines were lost.
    """
    content = read_state(require_latest(run))
    for name, size in content["sizes"].items():
        present = _size(run / name)
        if present < size:
            raise ValueError(
                f"resume: {run / name} has {present} bytes, but had {size} at the checkpoint: lines are lost"
            )
        if present > size:
            with (run / name).open("r+b") as file:
                file.truncate(size)


def check(run: Path, settings: RunSettings) -> list[str]:
    """Whether a run can resume from its latest checkpoint under these settings, before anything starts.

    Returns notes for whoever watches: settings that were changed and change results by rounding only. Raises
    FileNotFoundError without a checkpoint, and ValueError for a run that has finished or is still running, and for
    settings that differ and may not, all of them listed.
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
    """What a checkpoint's state.json holds. Raises ValueError where it is not whole."""
    file = checkpoint / _STATE
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except json.JSONDecodeError as error:
        raise ValueError(f"resume: {file} is not valid JSON ({error.msg}): remove this checkpoint") from error


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0
