"""What a checkpoint keeps and what a run may be resumed with, round a learner that only plays."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import pytest

from rewards.types import Problem
from rl.metrics import Stopwatch
from rl.progress import Evaluation
from rl.run.checkpoint import Checkpoints, LoopState, check, cut_back, latest, require_latest, update_of
from rl.run.folder import RunFolder
from rl.run.origin import this_process
from rl.run_settings import RunSettings
from rl.settings import ClusterSettings, LearnerSettings, LoggerSettings, LoopSettings, PolicySettings, RolloutSettings

FIRST = Evaluation(0, 0.25, None, 9.0, 8)


@dataclass
class Coefficient:
    """An algorithm that has learnt something of its own."""

    start: float = 0.1

    def __post_init__(self) -> None:
        self.now = self.start

    def state(self) -> dict[str, Any]:
        return {"now": self.now}

    def load_state(self, state: dict[str, Any]) -> None:
        self.now = state["now"]


class FileLearner:
    """A learner whose weights are one number in a file."""

    def __init__(self, weight: int = 0, breaks: bool = False) -> None:
        self.weight, self.breaks = weight, breaks

    def save_checkpoint(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "weight").write_text(str(self.weight))
        if self.breaks:
            raise RuntimeError("the disk is full")

    def load_checkpoint(self, folder: Path) -> None:
        self.weight = int((folder / "weight").read_text())


def settings(**changes: Any) -> RunSettings:
    made = RunSettings(
        loop=LoopSettings(updates=10, checkpoint_every=2, checkpoints_kept=2),
        policy=PolicySettings("somewhere"),
        rollout=RolloutSettings(),
        learner=LearnerSettings(),
        cluster=ClusterSettings(),
        logger=LoggerSettings(tensorboard=False),
        algorithm=Coefficient(),
        task=object(),
        reward=None,  # type: ignore[arg-type]
        reward_config={"_target_": "rewards.verifier.VerifierReward", "timeout_s": 5.0},
    )
    return replace(made, **changes)


def problems() -> Any:
    return (Problem(f"{number}", "What?", "1") for number in count())


def saved(run: Path, updates: int, made: RunSettings | None = None, **learner: Any) -> LoopState:
    """A run that has done so many updates of three problems each and was saved after the last."""
    state = LoopState.at_start(FIRST)
    state.update, state.problems, state.failed = updates, 3 * updates, Counter({"too long": 2})
    Checkpoints(run, made or settings()).save(state, FileLearner(updates, **learner), Stopwatch())
    return state


def test_a_restored_run_has_the_complete_saved_state(tmp_path: Path) -> None:
    made = settings()
    made.algorithm.now = 0.30000000000000004
    state = saved(tmp_path, 4, made)
    fresh, learner, watch = settings(), FileLearner(), Stopwatch()
    restored = Checkpoints(tmp_path, fresh).restore(learner, watch)
    assert restored == state and learner.weight == 4
    assert fresh.algorithm.now == 0.30000000000000004
    assert restored.problems == 12


def test_time_spent_before_an_interruption_counts(tmp_path: Path) -> None:
    watch = Stopwatch()
    watch.add({"sample": 5.0}, 60.0)
    state = LoopState.at_start(FIRST)
    state.update = 2
    Checkpoints(tmp_path, settings()).save(state, FileLearner(), watch)
    later = Stopwatch()
    Checkpoints(tmp_path, settings()).restore(FileLearner(), later)
    assert later.seconds >= 60 and later.totals["sample"] == 5


@pytest.mark.parametrize(("every", "expected"), [(0, []), (1, [1, 2, 3, 4]), (3, [3])])
def test_checkpoints_are_due_at_the_configured_interval(tmp_path: Path, every: int, expected: list[int]) -> None:
    checkpoints = Checkpoints(tmp_path, settings(loop=LoopSettings(checkpoint_every=every)))
    assert [update for update in (1, 2, 3, 4) if checkpoints.due(update)] == expected


def test_the_latest_checkpoints_are_kept_and_older_ones_removed(tmp_path: Path) -> None:
    for update in (2, 4, 6):
        saved(tmp_path, update)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["update-000004", "update-000006"]
    assert update_of(require_latest(tmp_path)) == 6


def test_an_incomplete_checkpoint_is_ignored(tmp_path: Path) -> None:
    saved(tmp_path, 2)
    with pytest.raises(RuntimeError, match="disk is full"):
        saved(tmp_path, 4, breaks=True)
    assert update_of(require_latest(tmp_path)) == 2
    saved(tmp_path, 4)
    assert update_of(require_latest(tmp_path)) == 4
    assert not list((tmp_path / "checkpoints").glob("*.part"))


def test_a_run_without_a_checkpoint_cannot_be_resumed(tmp_path: Path) -> None:
    assert latest(tmp_path) is None
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        check(tmp_path, settings())


def test_every_setting_that_differs_is_listed(tmp_path: Path) -> None:
    saved(tmp_path, 2)
    other = settings(
        learner=LearnerSettings(learning_rate=1.0),
        algorithm=Coefficient(0.5),
        reward_config={"_target_": "rewards.verifier.VerifierReward", "timeout_s": 6.0},
    )
    with pytest.raises(ValueError, match="other settings") as caught:
        check(tmp_path, other)
    text = str(caught.value)
    assert "\n" not in text
    assert "learner.learning_rate was 0.0005, now 1.0" in text
    assert "algorithm.start was 0.1, now 0.5" in text
    assert "reward.timeout_s was 5.0, now 6.0" in text


def test_machine_settings_may_change_and_rounding_differences_are_reported(tmp_path: Path) -> None:
    saved(tmp_path, 2)
    assert check(tmp_path, settings(cluster=ClusterSettings(timeout_s=60.0))) == []
    (note,) = check(tmp_path, settings(learner=LearnerSettings(micro_batch_tokens=2048)))
    assert "learner.micro_batch_tokens was 4096, now 2048" in note and "rounding" in note


def test_a_run_may_become_longer_unless_its_learning_rate_depends_on_its_length(tmp_path: Path) -> None:
    saved(tmp_path, 10)
    (tmp_path / "status.json").write_text(json.dumps({"state": "finished", "updates": 10}))
    with pytest.raises(ValueError, match="has finished its 10 updates"):
        check(tmp_path, settings())
    longer = LoopSettings(updates=20, checkpoint_every=2, checkpoints_kept=2)
    assert check(tmp_path, settings(loop=longer)) == []
    cosine = LearnerSettings(lr_schedule="cosine")
    saved(tmp_path, 10, settings(learner=cosine))
    with pytest.raises(ValueError, match="updates was 10, now 20"):
        check(tmp_path, settings(loop=longer, learner=cosine))


def test_a_run_that_is_still_running_is_left_alone(tmp_path: Path) -> None:
    saved(tmp_path, 2)
    status = tmp_path / "status.json"
    parent = os.getppid()
    living = this_process() | {"id": parent, "started": psutil.Process(parent).create_time()}
    status.write_text(json.dumps({"state": "running", "process": living}))
    with pytest.raises(ValueError, match=f"still running .process {parent}"):
        check(tmp_path, settings())
    status.write_text(json.dumps({"state": "running", "process": living | {"started": 1.0}}))
    assert check(tmp_path, settings()) == [], "another process has that number now"


def test_lines_written_after_the_checkpoint_are_cut_off(tmp_path: Path) -> None:
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text('{"update": 1}\n')
    saved(tmp_path, 2)
    with metrics.open("a") as file:
        file.write('{"update": 3}\n{"upd')
    (tmp_path / "samples.jsonl").write_text("{}\n")
    run = RunFolder(tmp_path, LoggerSettings(tensorboard=False), resume=True)
    run.log_metrics(3, {"loss": 0.5})
    run.close()
    assert [json.loads(line)["update"] for line in metrics.read_text().splitlines()] == [1, 3]
    assert (tmp_path / "samples.jsonl").read_text() == ""


def test_a_run_with_missing_lines_cannot_be_resumed(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"update": 1}\n')
    saved(tmp_path, 2)
    (tmp_path / "metrics.jsonl").write_text("")
    with pytest.raises(ValueError, match="lines were lost"):
        cut_back(tmp_path)


def test_a_damaged_checkpoint_is_reported_by_name(tmp_path: Path) -> None:
    saved(tmp_path, 2)
    (require_latest(tmp_path) / "state.json").write_text("{")
    with pytest.raises(ValueError, match=r"state\.json is not valid JSON"):
        check(tmp_path, settings())
