"""resume=FOLDER: whose configuration it takes, what it refuses, and what a run that broke says about resuming."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import launch.train
from launch.resume import configuration_of, other_code
from rewards.builder import ConfigurationError
from rl.metrics import Stopwatch
from rl.progress import Evaluation
from rl.run.checkpoint import Checkpoints, LoopState


class NoWeights:
    """A learner without anything to save."""

    def save_checkpoint(self, folder: Path) -> None:
        folder.mkdir(parents=True)

    def load_checkpoint(self, folder: Path) -> None:
        pass


@pytest.fixture
def stopped(loop, words, tmp_path) -> Path:
    """The folder of a run of 20 updates that broke after update 10 with a learning rate of its own."""
    return stop(loop, [*words, "learner.learning_rate=0.25"], tmp_path)


def stop(loop, words, tmp_path) -> Path:
    """The folder of a run that broke after update 10, where it had a checkpoint."""

    def broken(settings, run, display):
        loop.seen.append(settings)
        state = LoopState.at_start(Evaluation(0, 0.25, 0.5, 9.0, 8))
        state.update = 10
        run.log_metrics(10, {"reward/mean": 0.5})
        Checkpoints(run.path, settings).save(state, NoWeights(), Stopwatch())
        run.log_metrics(11, {"reward/mean": 0.5})
        raise RuntimeError("the machine went away")

    whole, loop.train = loop.train, broken
    assert launch.train.main([*words, f"run_dir={tmp_path / 'mine'}"]) == 1
    loop.train = whole
    loop.seen.clear()
    return tmp_path / "mine"


def test_a_failed_run_names_its_last_checkpoint_and_the_command_to_resume(capfd, stopped):
    out = capfd.readouterr().out
    assert f"last good checkpoint: {stopped}/checkpoints/update-000010 (after update 10)" in out
    assert f"python -m launch.train resume={stopped}" in out
    status = json.loads((stopped / "status.json").read_text())
    assert status["checkpoint"].endswith("update-000010")


def test_a_run_without_a_checkpoint_does_not_offer_to_resume(loop, words, capfd):
    loop.error = RuntimeError("broken")
    assert launch.train.main([*words, "run_dir=mine"]) == 1
    assert "checkpoint" not in capfd.readouterr().out


def test_a_resumed_run_keeps_its_settings_and_its_folder(stopped, loop, capfd):
    assert launch.train.main([f"resume={stopped}"]) == 0
    (settings,) = loop.seen
    assert settings.learner.learning_rate == 0.25 and settings.rollout.problems == 4
    assert "resuming after update 10 of 20" in capfd.readouterr().out
    updates = [json.loads(line)["update"] for line in (stopped / "metrics.jsonl").read_text().splitlines()]
    assert updates == [10, 1], "the line after the checkpoint is gone, the fake loop's line is there"
    assert json.loads((stopped / "status.json").read_text())["state"] == "finished"
    (entry,) = json.loads((stopped / "origin.json").read_text())["resumed"]
    assert entry["after_update"] == 10 and entry["command"][-1] == f"resume={stopped}"


def test_settings_of_the_machine_may_change_on_resume(stopped, loop):
    assert launch.train.main([f"resume={stopped}", "cluster.timeout_s=60", "logger=quiet"]) == 0
    (settings,) = loop.seen
    assert settings.cluster.timeout_s == 60 and settings.logger.samples != "all"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (["learner.learning_rate=0.5", "seed=3"], ["seed was 1, now 3", "was 0.25, now 0.5"]),
        (["reward=shaped"], ["reward._target_ was rewards.verifier.VerifierReward"]),
        (["algorithm=ppo"], ["algorithm._target_ was rl.algorithms.grpo.GRPO, now rl.algorithms.ppo.PPO"]),
        (["experiment=quickstart"], ["experiment=quickstart", "leave it out"]),
        (["run_dir=elsewhere"], ["run_dir=elsewhere", "leave it out"]),
        (["-m", "seed=1,2"], ["one run at a time"]),
    ],
)
def test_changes_that_would_make_another_run_are_refused_in_one_line(stopped, loop, capfd, changes, expected):
    capfd.readouterr()
    assert launch.train.main([f"resume={stopped}", *changes]) == 2
    error = capfd.readouterr().err
    assert error.count("\n") == 1
    for text in expected:
        assert text in error
    assert loop.seen == []


def test_messages_distinguish_no_run_from_no_checkpoint(loop, words, tmp_path, capfd):
    assert launch.train.main([f"resume={tmp_path}"]) == 2
    assert "there is no run in this folder" in capfd.readouterr().err
    assert launch.train.main([*words, "run_dir=mine"]) == 0
    capfd.readouterr()
    assert launch.train.main(["resume=mine"]) == 2
    assert "has no checkpoint to resume from" in capfd.readouterr().err


def test_a_finished_run_is_refused_unless_it_is_extended(stopped, loop, capfd):
    status = stopped / "status.json"
    status.write_text(json.dumps({"state": "finished", "updates": 20}))
    capfd.readouterr()
    assert launch.train.main([f"resume={stopped}"]) == 2
    assert "has finished its 20 updates" in capfd.readouterr().err
    assert launch.train.main([f"resume={stopped}", "updates=30"]) == 0


def test_a_damaged_configuration_is_reported_by_name(tmp_path):
    (tmp_path / "config.yaml").write_text("a: [")
    with pytest.raises(ConfigurationError, match=r"config\.yaml is not valid YAML"):
        configuration_of({"resume": str(tmp_path)}, [])


def test_other_code_or_packages_are_noted():
    written = {"commit": "a" * 40, "dirty": False, "packages": {"torch": "2.13.0"}}
    assert other_code(written, written) == []
    (line,) = other_code(written, written | {"packages": {"torch": "2.14.0"}})
    assert "torch 2.13.0 -> 2.14.0" in line and "numbers may differ" in line
    (line,) = other_code(written, written | {"commit": "b" * 40})
    assert "commit aaaaaaaaaa -> bbbbbbbbbb" in line


def more_rows(rows):
    return [*rows, json.dumps({"problem": "99 + 1?", "answer": 100})]


def another_order(rows):
    return rows[::-1]


def another_answer(rows):
    return [rows[0].replace("#### ", "#### 9"), *rows[1:]]


@pytest.mark.parametrize(
    ("change", "split"), [(more_rows, "train"), (another_order, "train"), (another_answer, "held_out")]
)
def test_a_run_whose_data_changed_is_not_resumed_and_the_file_is_named(
    loop, words, problem_files, tmp_path, capfd, change, split
):
    files = {name: tmp_path / f"{name}.jsonl" for name in ("train", "held_out")}
    for file, source in zip(files.values(), problem_files, strict=True):
        file.write_text(Path(source).read_text())
    stopped = stop(loop, [*words, "task=jsonl", *(f"task.{name}={file}" for name, file in files.items())], tmp_path)
    assert launch.train.main([f"resume={stopped}"]) == 0
    status = json.loads((stopped / "status.json").read_text())
    (stopped / "status.json").write_text(json.dumps(status | {"state": "failed"}))
    file = files[split]
    file.write_text("\n".join(change(file.read_text().splitlines())) + "\n")
    capfd.readouterr()
    assert launch.train.main([f"resume={stopped}"]) == 2
    error = capfd.readouterr().err
    assert "was made with other data" in error and f"data.{split} was 20 problems (sha256 " in error
    assert f"(changed: {file})" in error and error.count("\n") == 1
