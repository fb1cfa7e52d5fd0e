"""The runs of a study: where each one stands, and running those that are left in processes of their own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from launch.train import Checked
from rl.run.checkpoint import latest
from rl.run.origin import still_running
from rl.run.resuming import FREE

LONGEST_NAME = 120
NOT_COMPARED = {"run_dir", "resume", "dry_run", *(key for key in FREE if "." not in key)}
"""Root keys in which a run found in the folder may differ from the one that is asked for."""


@dataclass(frozen=True)
class Point:
    """One run of the study: its name, its folder, and the words that start it."""

    name: str
    folder: Path
    words: tuple[str, ...]
    config: Mapping[str, Any]

    @property
    def status(self) -> dict[str, Any]:
        """status.json; empty if it is not there or cannot be read."""
        try:
            found = json.loads((self.folder / "status.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def finished(self) -> bool:
        """Whether the run has finished."""
        return self.status.get("state") == "finished"


@dataclass(frozen=True)
class Outcome:
    """What came of a run. `reason` says why it failed, or that it had finished before."""

    point: Point
    state: str
    reason: str = ""

    @property
    def finished(self) -> bool:
        """Whether the run has finished, now or before."""
        return self.state == "finished"

    @property
    def accuracy(self) -> str:
        """Held-out accuracy before and after."""
        ends = [self.point.status.get(when, {}).get("accuracy/held_out") for when in ("before", "after")]
        return " -> ".join("-" if value is None else f"{value:.3f}" for value in ends) if self.finished else ""

    @property
    def time(self) -> str:
        """Minutes and seconds of the run."""
        seconds = self.point.status.get("seconds")
        return "" if seconds is None else f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


def points(runs: Sequence[Checked], folder: Path, words: Sequence[str]) -> list[Point]:
    """The study's runs, each named after the words in which it differs from the others.

    `words` are the command's; its flags go to every run. Raises ValueError if two runs are the same.
    """
    common = set.intersection(*(set(run.overrides) for run in runs))
    flags = flags_of(words)
    found: dict[str, Point] = {}
    for run in runs:
        name = name_of([word for word in run.overrides if word not in common] or ["run"])
        if name in found:
            raise ValueError(f"two runs of the study are the same: {' '.join(run.overrides)}")
        target = folder / name
        own = (*flags, *run.overrides, "hydra.mode=RUN", f"run_dir='{target}'")
        found[name] = Point(name, target, own, run.config)
    return list(found.values())


def flags_of(words: Sequence[str]) -> list[str]:
    """The words that say where configurations are."""
    found: list[str] = []
    for word, following in zip(words, [*words, ""][1:], strict=True):
        if word in ("--config-dir", "-cd", "--config-name", "-cn"):
            found += [word, following]
        elif word.startswith(("--config-dir=", "--config-name=")):
            found.append(word)
    return found


def name_of(words: Sequence[str]) -> str:
    """A folder's name from words: readable, unique, and valid on any file system."""
    text = ",".join(words)
    name = re.sub(r"[^A-Za-z0-9._=,+-]+", "-", text).strip("-.")
    if name == text and len(name) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME - 9]}-{sha256(text.encode()).hexdigest()[:8]}"


def require_free(point: Point) -> None:
    """Raise ValueError if another run is in this run's folder, or if it is running already."""
    status, written = point.status, point.folder / "config.yaml"
    if status.get("state") == "running" and still_running(status.get("process", {})):
        raise ValueError(f"{point.folder} is a run in progress: wait for it, or choose another folder")
    if not written.exists():
        return
    before = yaml.safe_load(written.read_text(encoding="utf-8")) or {}
    now = json.loads(json.dumps(point.config))
    keys = sorted(key for key in {*before, *now} - NOT_COMPARED if before.get(key) != now.get(key))
    if keys:
        raise ValueError(
            f"{point.folder} holds a run with other settings ({', '.join(keys)}): choose another folder for this study"
        )


class Runner:
    """Runs what is left of a study, several runs at a time. `tell` gets a line about every start and end."""

    def __init__(self, found: Sequence[Point], jobs: int, tell: Callable[[str], None]) -> None:
        self.points, self.jobs, self.tell = found, jobs, tell
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopping = False

    def run(self) -> list[Outcome]:
        """The outcome of every run, in the study's order. A KeyboardInterrupt ends the runs in progress first."""
        done = [point for point in self.points if point.finished]
        if done:
            self.tell(f"{len(done)} of {len(self.points)} runs have finished before")
        outcomes = {point.name: Outcome(point, "finished", "before") for point in done}
        with ThreadPoolExecutor(self.jobs, "study") as pool:
            waiting = [pool.submit(self._one, point) for point in self.points if point.name not in outcomes]
            try:
                for future in as_completed(waiting):
                    outcome = future.result()
                    outcomes[outcome.point.name] = outcome
                    what = outcome.accuracy if outcome.finished else outcome.reason
                    self.tell(f"{outcome.state} ({len(outcomes)} of {len(self.points)}): {outcome.point.name}: {what}")
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                self._stop()
                raise
        return [outcomes[point.name] for point in self.points]

    def _one(self, point: Point) -> Outcome:
        """Run one point to its end."""
        words = point.words
        if point.folder.exists():
            if latest(point.folder) is not None:
                words = (f"resume='{point.folder}'",)
                self.tell(f"resuming {point.name}")
            else:
                set_aside(point.folder)
        logs = point.folder.parent / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        log = logs / f"{point.name}.log"
        with log.open("ab") as output:
            with self._lock:
                if self._stopping:
                    return Outcome(point, "stopped")
                process = subprocess.Popen(
                    [sys.executable, "-m", "launch.train", *words],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # Ctrl-C reaches this process alone, which then ends its runs
                )
                self._processes.add(process)
            code = process.wait()
        with self._lock:
            self._processes.discard(process)
        if code == 0 and point.finished:
            return Outcome(point, "finished")
        reason = point.status.get("reason") or last_error(log) or f"exit code {code}"
        return Outcome(point, "failed", f"{reason} (see {log})")

    def _stop(self) -> None:
        """End the runs in progress; they keep their checkpoints."""
        with self._lock:
            self._stopping = True
            running = list(self._processes)
        for process in running:
            process.terminate()
        deadline = time.monotonic() + 60
        for process in running:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()


def set_aside(folder: Path) -> None:
    """Move a run without a checkpoint out of the way, into set_aside/; nothing is deleted."""
    place = folder.parent / "set_aside"
    place.mkdir(exist_ok=True)
    number = 1
    while (target := place / f"{folder.name}_{number}").exists():
        number += 1
    folder.rename(target)


def last_error(log: Path) -> str:
    """The last line of the log that begins with "error:", without that word; "" if there is none."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.removeprefix("error: ") for line in reversed(lines) if line.startswith("error: ")), "")
