"""The trackers against the real packages, which write to this machine, and what happens when one fails."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from rewards.types import Problem, Score
from rl.run.folder import RunFolder
from rl.run.trackers import COLUMNS, Tracker, flat
from rl.run.trackers.mlflow import Mlflow
from rl.run.trackers.trackio import Trackio
from rl.run.trackers.wandb import Wandb
from rl.settings import LoggerSettings
from rl.types import Answer, AnswerGroup, Sample

CONFIG = {"seed": 3, "reward": {"model": "folder", "terms": {}}, "stops": ["a", "b"]}


class Recorder(Tracker):
    """Keeps what it gets; fails at the calls named in `broken`."""

    def __init__(self, broken: Sequence[str] = (), sample_rows: int = 2) -> None:
        self.broken, self.sample_rows = broken, sample_rows
        self.calls: list[tuple[Any, ...]] = []

    def start(self, name: str, folder: Path, config: Mapping[str, Any], known_as: str | None) -> str:
        self._record("start", name, dict(config), known_as)
        return known_as or "run-1"

    def log(self, update: int, metrics: Mapping[str, float]) -> None:
        self._record("log", update, dict(metrics))

    def samples(self, update: int, rows: Sequence[Sequence[Any]]) -> None:
        self._record("samples", update, [list(row) for row in rows])

    def finish(self, failed: bool) -> None:
        self._record("finish", failed)

    def _record(self, *call: Any) -> None:
        if call[0] in self.broken:
            raise ConnectionError("no route\nto host")
        self.calls.append(call)


def groups() -> list[AnswerGroup]:
    problem = Problem("p", ({"role": "user", "content": "What is 1 + 2?"},), "3")
    samples = [Sample((1,), (2, 3), (-0.1, -0.2), text, "stop", 0) for text in ("3", "4", "5")]
    scores = [Score(0.9), Score.failed("too long"), Score(0.1)]
    marks = (True, False, None)
    return [AnswerGroup(problem, tuple(Answer(*one) for one in zip(samples, scores, marks, strict=True)))]


def write_run(path: Path, tracker: Tracker, *, fail: bool = False) -> tuple[RunFolder, list[str]]:
    run = RunFolder(path, LoggerSettings(tensorboard=False, tracker=tracker))
    events: list[str] = []
    run.tell = events.append
    run.describe(CONFIG, ["python"])
    run.log_metrics(0, {"accuracy/held_out": 0.25, "learner/kl": float("nan")})
    run.log_samples(0, groups(), stage="evaluate")
    run.log_samples(1, groups())
    run.log_metrics(1, {"accuracy/held_out": 0.5})
    if fail:
        run.fail(RuntimeError("broke"))
    else:
        run.finish()
    return run, events


def test_numbers_and_an_evaluations_first_samples_reach_the_tracker(tmp_path: Path) -> None:
    tracker = Recorder()
    write_run(tmp_path / "run", tracker)
    rows = [[0, "What is 1 + 2?", "3", "3", True, 0.9, 2], [0, "What is 1 + 2?", "3", "4", False, None, 2]]
    assert tracker.calls == [
        ("start", "run", CONFIG, None),
        ("log", 0, {"accuracy/held_out": 0.25}),
        ("samples", 0, rows),
        ("log", 1, {"accuracy/held_out": 0.5}),
        ("finish", False),
    ]


def test_a_failed_run_is_closed_as_failed(tmp_path: Path) -> None:
    tracker = Recorder()
    write_run(tmp_path / "run", tracker, fail=True)
    assert tracker.calls[-1] == ("finish", True)


def test_a_resumed_run_continues_the_trackers_run(tmp_path: Path) -> None:
    write_run(tmp_path / "run", Recorder())
    again = Recorder()
    run = RunFolder.__new__(RunFolder)
    assert json.loads((tmp_path / "run" / "tracker.json").read_text()) == {"tracker": "Recorder", "name": "run-1"}
    run.path, run._settings, run._tracking = tmp_path / "run", LoggerSettings(tracker=again), None
    run.tell = print
    assert run._tracker() is not None
    assert again.calls == [("start", "run", CONFIG, "run-1")]


@pytest.mark.parametrize("call", ["start", "log", "samples", "finish"])
def test_a_tracker_that_fails_is_reported_once_and_the_run_continues(call: str, tmp_path: Path) -> None:
    tracker = Recorder(broken=[call])
    run, events = write_run(tmp_path / "run", tracker)
    assert events == ["Recorder failed and is switched off: ConnectionError: no route"]
    status = json.loads((run.path / "status.json").read_text())
    assert (status["state"], status["tracker"]) == ("finished", events[0])
    assert len((run.path / "metrics.jsonl").read_text().splitlines()) == 2


def test_no_table_is_sent_with_sample_rows_0(tmp_path: Path) -> None:
    tracker = Recorder(sample_rows=0)
    write_run(tmp_path / "run", tracker)
    assert [call[0] for call in tracker.calls] == ["start", "log", "log", "finish"]


@pytest.mark.parametrize("kind", [Wandb, Mlflow, Trackio])
def test_a_negative_number_of_rows_is_refused(kind: type[Tracker]) -> None:
    with pytest.raises(ValueError, match="sample_rows"):
        kind(sample_rows=-1)  # type: ignore[call-arg]


@pytest.mark.parametrize("kind", [Wandb, Mlflow, Trackio])
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    kind: type[Tracker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rl.run.trackers.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"not installed: .*requirements/trackers.txt"):
        kind()


def test_a_configuration_becomes_parameters_with_dotted_names() -> None:
    assert flat(CONFIG) == {"seed": 3, "reward.model": "folder", "reward.terms": {}, "stops": ["a", "b"]}


def test_wandb_offline_writes_into_the_run_folder(tmp_path: Path) -> None:
    run, events = write_run(tmp_path / "run", Wandb())
    assert events == []
    (written,) = (run.path / "wandb").glob("offline-run-*/run-*.wandb")
    content = written.read_bytes()
    assert b"accuracy/held_out" in content
    (table,) = (run.path / "wandb").glob("offline-run-*/files/media/table/*.json")
    assert json.loads(table.read_text())["columns"] == list(COLUMNS)


def test_mlflow_keeps_parameters_numbers_samples_and_the_outcome(tmp_path: Path) -> None:
    import mlflow

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    run, events = write_run(tmp_path / "run", Mlflow(uri), fail=True)
    assert events == []
    client = mlflow.MlflowClient(tracking_uri=uri)
    name = json.loads((run.path / "tracker.json").read_text())["name"]
    found = client.get_run(name)
    assert (found.info.run_name, found.info.status) == ("run", "FAILED")
    assert found.data.params["reward.model"] == "folder"
    history = client.get_metric_history(name, "accuracy/held_out")
    assert [(metric.step, metric.value) for metric in history] == [(0, 0.25), (1, 0.5)]
    table = next((tmp_path / "mlflow_files").rglob("samples.json"))
    assert json.loads(table.read_text())["columns"] == list(COLUMNS)


def test_trackio_keeps_the_numbers_in_its_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import trackio.utils

    folder = tmp_path / "trackio"
    for module in ("trackio.utils", "trackio.sqlite_storage", "trackio.media.utils"):
        monkeypatch.setattr(f"{module}.TRACKIO_DIR", folder, raising=False)
    assert folder == trackio.utils.TRACKIO_DIR
    _, events = write_run(tmp_path / "run", Trackio("project"))
    assert events == []
    with sqlite3.connect(next(folder.rglob("*.db"))) as base:
        rows = base.execute("select step, metrics from metrics order by step").fetchall()
    logged = [(step, json.loads(text)) for step, text in rows]
    assert [(step, row["accuracy/held_out"]) for step, row in logged if "accuracy/held_out" in row] == [
        (0, 0.25),
        (1, 0.5),
    ]


@pytest.mark.parametrize("name", ["wandb", "mlflow", "trackio"])
def test_each_trackers_config_builds(name: str) -> None:
    from rewards.builder import build

    node = yaml.safe_load((Path("configs/logger") / f"{name}.yaml").read_text())["tracker"]
    assert isinstance(build(node, "logger.tracker"), Tracker)
