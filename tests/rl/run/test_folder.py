from __future__ import annotations

import json

import pytest
import yaml

from rewards.records import score_from_json
from rewards.types import Problem, Score
from rl.progress import Evaluation, Summary
from rl.run.folder import RunFolder, reason_of
from rl.run.origin import origin
from rl.run.stopping import Terminated
from rl.settings import LoggerSettings
from rl.types import Answer, AnswerGroup, Sample

QUIET = LoggerSettings(tensorboard=False)


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def sample(text: str) -> Sample:
    return Sample((1,), (2, 3), (-0.5, -0.5), text, "stop", 4)


SCORE = Score.of(0.5, steps=[0.5], spans=[(0, 16)], parts={"gate": 1.0}, matches={1: 0.5})
GROUPS = [
    AnswerGroup(Problem("a", "1 + 1?", "2"), (Answer(sample("The answer is: 2"), SCORE, True),)),
    AnswerGroup(Problem("b", "2 + 2?", "4"), (Answer(sample("vier"), Score.failed("no step"), False),)),
]


def test_the_configuration_and_origin_are_written(tmp_path):
    run = RunFolder(tmp_path / "run", QUIET)
    run.describe(
        {"algorithm": {"kl": 0.01}, "betas": (0.9, 0.95)},
        ["python", "-m", "launch.train", "reward=orm"],
        {"reward": "orm"},
    )
    assert yaml.safe_load((run.path / "config.yaml").read_text()) == {"algorithm": {"kl": 0.01}, "betas": [0.9, 0.95]}
    described = json.loads((run.path / "origin.json").read_text())
    assert described["command"][-1] == "reward=orm"
    assert described["choices"] == {"reward": "orm"}
    assert described["packages"]["torch"]
    assert {"commit", "dirty", "python", "machine"} <= described.keys()


def test_the_origin_names_the_commit_of_a_checkout_or_none():
    commit = origin()["commit"]
    assert commit is None or len(commit) == 40


def test_metrics_can_be_read_during_the_run(tmp_path):
    run = RunFolder(tmp_path / "run", QUIET)
    run.log_metrics(1, {"reward/mean": 0.5}, {"no step": 3})
    run.log_metrics(2, {"reward/mean": 0.6})
    first, second = rows(run.path / "metrics.jsonl")
    assert (first["update"], first["reward/mean"], first["failures"]) == (1, 0.5, {"no step": 3})
    assert (second["update"], second["reward/mean"]) == (2, 0.6) and "failures" not in second


def test_a_number_that_is_not_finite_is_written_by_name(tmp_path):
    run = RunFolder(tmp_path / "run", QUIET)
    run.log_metrics(1, {"grad_norm": float("nan")})
    assert rows(run.path / "metrics.jsonl")[0]["grad_norm"] == "nan"


def test_samples_hold_text_whole_score_and_whether_they_are_correct(tmp_path):
    run = RunFolder(tmp_path / "run", QUIET)
    run.log_samples(3, GROUPS)
    good, bad = rows(run.path / "samples.jsonl")
    assert score_from_json(good["score"]) == SCORE and good["correct"] is True
    assert good["problem"] == "1 + 1?" and good["weight_version"] == 4
    assert bad["score"] == {"failure": "no step"} and bad["correct"] is False


@pytest.mark.parametrize(("how_many", "lines"), [("some", 1), ("none", 0)])
def test_fewer_samples_are_kept_on_request(tmp_path, how_many, lines):
    run = RunFolder(tmp_path / "run", LoggerSettings(tensorboard=False, samples=how_many))
    run.log_samples(1, GROUPS)
    file = run.path / "samples.jsonl"
    assert (len(rows(file)) if file.exists() else 0) == lines


def test_tensorboard_events_are_written(tmp_path):
    run = RunFolder(tmp_path / "run", LoggerSettings())
    run.log_metrics(1, {"reward/mean": 0.5})
    run.close()
    assert any((run.path / "tensorboard").iterdir())


def test_a_failed_run_keeps_its_files_and_says_why(tmp_path):
    run = RunFolder(tmp_path / "run", QUIET)
    assert json.loads((run.path / "status.json").read_text())["state"] == "running"
    run.log_metrics(1, {"reward/mean": 0.5})
    try:
        raise RuntimeError("the engine died\nwith a long story")
    except RuntimeError as error:
        trace = run.fail(error)
    status = json.loads((run.path / "status.json").read_text())
    assert (status["state"], status["reason"]) == ("failed", "the engine died")
    assert "with a long story" in trace.read_text()
    assert len(rows(run.path / "metrics.jsonl")) == 1


def test_a_finished_run_states_before_and_after(tmp_path):
    run = RunFolder(tmp_path / "run", QUIET)
    before, after = Evaluation(0, 0.25, 0.5, 20.0, 8), Evaluation(2, 0.5, None, 21.0, 8)
    run.finish(Summary(before, after, 2, 12.0, {"sample": 6.0}, run.path, {"no step": 1}))
    status = json.loads((run.path / "status.json").read_text())
    assert status["state"] == "finished"
    assert status["before"]["accuracy/held_out"] == 0.25 and status["after"]["accuracy/held_out"] == 0.5
    assert "reward/held_out" not in status["after"] and status["failures"] == {"no step": 1}


def test_runs_are_never_mixed_in_one_folder(tmp_path):
    (tmp_path / "old.txt").write_text("precious")
    with pytest.raises(FileExistsError, match="run_dir"):
        RunFolder(tmp_path, QUIET)


def test_an_error_without_a_message_is_reported_by_its_type():
    assert reason_of(KeyError()) == "KeyError"
    assert reason_of(KeyboardInterrupt()) == "stopped by Ctrl-C"
    assert reason_of(Terminated()) == "stopped by SIGTERM"


def test_unknown_values_of_a_sample_are_null(tmp_path):
    run = RunFolder(tmp_path / "run", QUIET)
    run.log_samples(1, [AnswerGroup.drawn(Problem("a", "1 + 1?"), [sample("2")])])
    (row,) = rows(run.path / "samples.jsonl")
    assert row["correct"] is None and row["score"] is None
