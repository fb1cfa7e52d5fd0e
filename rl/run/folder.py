"""A run's folder: its configuration, origin and output, readable while it runs and after a failure.

config.yaml       the resolved configuration
origin.json       command line, options chosen, git commit and whether the tree was dirty, package versions, machine
status.json       running, finished or failed, with the reason
metrics.jsonl     one line per update: numbers, and failed scores by reason
samples.jsonl     one line per response: text, score (as in rewards/records.py), whether it is correct, weight version
tensorboard/      the same numbers as events
tracker.json      what the experiment tracker calls this run, if there is one
logs/             output of the processes, and the traceback if the run failed
checkpoints/      from which a stopped run resumes
policy/           the trained policy
best_policy/      the policy of the best held-out accuracy, if it is kept
"""

from __future__ import annotations

import json
import math
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import yaml

from rewards.records import score_to_json
from rl.progress import Summary
from rl.run.checkpoint import cut_back, latest, require_latest, seconds_of, update_of
from rl.run.origin import origin, this_process
from rl.run.stopping import stop_reason
from rl.run.trackers import Tracking
from rl.settings import LoggerSettings
from rl.types import Answer, AnswerGroup


class RunFolder:
    """Writes a run's files. Lines are flushed as they are written, so a stopped run loses nothing."""

    def __init__(self, path: Path, logger: LoggerSettings, *, resume: bool = False) -> None:
        """Create the folder, or with `resume` continue a stopped run's folder from its latest checkpoint.

        Raises FileExistsError if a new run's folder is not empty (runs are never mixed), and FileNotFoundError or
        ValueError if there is nothing to resume.
        """
        path = Path(path).absolute()
        checkpoint = require_latest(path) if resume else None
        if resume:
            cut_back(path)
        else:
            require_unused(path)
        self.path, self.resumed = path, resume
        self.logs = path / "logs"
        self.policy = path / "policy"
        self.best_policy = path / "best_policy"
        self.logs.mkdir(parents=True, exist_ok=True)
        self._settings = logger
        self._started = time.time() - (seconds_of(checkpoint) if checkpoint else 0.0)
        self._purge = update_of(checkpoint) + 1 if checkpoint else None
        self._metrics = _Lines(path / "metrics.jsonl")
        self._samples = _Lines(path / "samples.jsonl")
        self._events: Any = None
        self.tell: Callable[[str], None] = lambda event: None  # the loop puts its display here
        self._tracking: Tracking | None = None
        self._status("running", process=this_process())

    def describe(
        self, config: Mapping[str, Any], command: Sequence[str], choices: Mapping[str, str | None] | None = None
    ) -> None:
        """Write config.yaml (`config`, resolved) and origin.json (`command`: the command line's words).

        `choices`: the option of each configuration group, such as {"reward": "prm"}; reports name the run by them.
        """
        text = yaml.safe_dump(_plain(config), sort_keys=False, allow_unicode=True, width=120)
        (self.path / "config.yaml").write_text(text, encoding="utf-8")
        _write_json(self.path / "origin.json", {"command": list(command), "choices": dict(choices or {})} | origin())

    def describe_resumption(self, command: Sequence[str], notes: Sequence[str]) -> None:
        """Add the resuming command, its code and the notes on changed settings to origin.json."""
        file = self.path / "origin.json"
        content = json.loads(file.read_text(encoding="utf-8"))
        after = None if self._purge is None else self._purge - 1
        entry = {"after_update": after, "command": list(command), "notes": list(notes)} | origin()
        _write_json(file, content | {"resumed": [*content.get("resumed", []), entry]})

    def log_metrics(self, update: int, metrics: Mapping[str, float], failures: Mapping[str, int] | None = None) -> None:
        """Append one line of numbers for `update` (0: before training); the same to TensorBoard and the tracker."""
        line = {"update": update, "seconds": round(time.time() - self._started, 3), **metrics}
        row = {name: value if math.isfinite(value) else str(value) for name, value in line.items()}  # JSON has no NaN
        self._metrics.append(row | ({"failures": dict(failures)} if failures else {}))
        if self._settings.tensorboard:
            writer = self._tensorboard()
            for name, value in metrics.items():
                writer.add_scalar(name, value, update)
            writer.flush()
        if tracking := self._tracker():
            finite = {name: float(value) for name, value in metrics.items() if math.isfinite(value)}
            tracking.log(update, finite)

    def rows(self) -> list[dict[str, float]]:
        """The numbers logged so far, one row per line of metrics.jsonl."""
        file = self.path / "metrics.jsonl"
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        return [
            {name: value for name, value in json.loads(line).items() if isinstance(value, int | float)}
            for line in lines
        ]

    def log_samples(
        self,
        update: int,
        groups: Sequence[AnswerGroup],
        stage: str = "train",
    ) -> None:
        """Append one line per response. `logger.samples` selects all, those of the first problem (some), or none.

        `correct` is null if the task gave no grade. `score` is null if no reward was used, else an object as
        `rewards.records` writes it. `stage` is what the responses were drawn for ("train" or "evaluate"). Responses of
        an evaluation go to the tracker too.
        """
        if stage == "evaluate" and (tracking := self._tracker()):
            tracking.samples(update, [_row(update, group, answer) for group in groups for answer in group.answers])
        if self._settings.samples == "none":
            return
        for group in groups if self._settings.samples == "all" else groups[:1]:
            for answer in group.answers:
                sample = answer.sample
                self._samples.append(
                    {
                        "update": update,
                        "stage": stage,
                        "problem_id": group.problem.id,
                        "problem": group.problem.text,
                        "answer": group.problem.answer,
                        "response": sample.text,
                        "finish_reason": sample.finish_reason,
                        "tokens": len(sample.response_ids),
                        "weight_version": sample.weight_version,
                        "correct": None if answer.correct is None else bool(answer.correct),
                        "score": None if answer.score is None else score_to_json(answer.score),
                    },
                    flush=False,
                )
        self._samples.flush()

    def finish(self, summary: Summary | None = None) -> None:
        """Mark the run as finished, with its first and last evaluation, and close its files."""
        outcome: dict[str, Any] = self._end_tracking(failed=False)
        if summary is not None:
            outcome |= {
                "before": summary.before.metrics(),
                "after": summary.after.metrics(),
                "updates": summary.updates,
                "stages": dict(summary.stages),
                "failures": dict(summary.failures),
                "skipped": summary.skipped,
                **({"stopped": summary.stopped} if summary.stopped else {}),
            }
        self._status("finished", **outcome)
        self.close()

    def fail(self, error: BaseException) -> Path:
        """Mark the run as failed, keep the traceback in logs/, close the files. Returns the traceback's file."""
        trace = self.logs / "traceback.txt"
        trace.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        checkpoint = latest(self.path)
        fault = self._end_tracking(failed=True)
        self._status("failed", reason=reason_of(error), checkpoint=str(checkpoint) if checkpoint else None, **fault)
        self.close()
        return trace

    def close(self) -> None:
        """Close all open files. Writing afterwards reopens them."""
        self._metrics.close()
        self._samples.close()
        if self._events is not None:
            self._events.close()
            self._events = None

    def _status(self, state: str, **more: Any) -> None:
        seconds = round(time.time() - self._started, 3)
        _write_json(self.path / "status.json", {"state": state, "seconds": seconds, **more})

    def _tracker(self) -> Tracking | None:
        """The tracker, started when it is first needed; None if there is none."""
        if self._tracking is None and self._settings.tracker is not None:
            self._tracking = Tracking(self._settings.tracker, self.tell)
            mark, written = self.path / "tracker.json", self.path / "config.yaml"
            config = yaml.safe_load(written.read_text(encoding="utf-8")) if written.exists() else {}
            kind = type(self._settings.tracker).__name__
            known = json.loads(mark.read_text(encoding="utf-8")) if mark.exists() else {}
            self._tracking.start(self.path, config, known.get("name") if known.get("tracker") == kind else None)
            if self._tracking.known_as:
                _write_json(mark, {"tracker": kind, "name": self._tracking.known_as})
        return self._tracking

    def _end_tracking(self, *, failed: bool) -> dict[str, Any]:
        """Close the tracker's run. Returns what went wrong with it, for status.json; empty if nothing did."""
        if self._tracking is None:
            return {}
        self._tracking.finish(failed)
        return {"tracker": self._tracking.fault} if self._tracking.fault else {}

    def _tensorboard(self) -> Any:
        if self._events is None:
            from torch.utils.tensorboard import SummaryWriter  # takes a second to import

            self._events = SummaryWriter(str(self.path / "tensorboard"), purge_step=self._purge)
        return self._events


def _row(update: int, group: AnswerGroup, answer: Answer) -> list[Any]:
    """A sample as a row of a tracker's table: see `rl.run.trackers.COLUMNS`."""
    reward = answer.score.value if answer.score is not None and answer.score.ok else None
    sample = answer.sample
    problem = group.problem
    return [update, problem.text, problem.answer, sample.text, answer.correct, reward, len(sample.response_ids)]


def require_unused(path: Path) -> None:
    """Raise FileExistsError if a new run's folder is not empty."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise FileExistsError(f"run_dir: {path} is not empty: choose another run_dir, or null for a new one")


def reason_of(error: BaseException) -> str:
    """An error as one line: the first line of its message, or its type if it has none."""
    if isinstance(error, KeyboardInterrupt):
        return stop_reason(error)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


class _Lines:
    """A JSONL file, created when its first line is written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None

    def append(self, row: Mapping[str, Any], *, flush: bool = True) -> None:
        if self._file is None:
            self._file = self._path.open("a", encoding="utf-8")
        self._file.write(json.dumps(row, ensure_ascii=False) + "\n")
        if flush:
            self.flush()

    def flush(self) -> None:
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write to a temporary file and rename it, so a reader never sees half a file."""
    half = path.with_suffix(".part")
    half.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    half.replace(path)


def _plain(value: Any) -> Any:
    """Convert mappings and sequences to dicts and lists, which YAML writes without tags."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
