"""launch.train from end to end round a loop that only plays: what it writes, shows and returns."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import launch.train
from launch.composition import compose
from rewards.verifier import VerifierReward
from rl.run.stopping import Terminated


def runs(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "runs").iterdir() if path.name != "sweeps")


def test_a_run_writes_its_folder_and_ends_with_a_summary_sentence(loop, words, tmp_path, capfd):
    assert launch.train.main([*words, "seed=7", "algorithm.kl=0.01"]) == 0
    (folder,) = runs(tmp_path)
    assert folder.name.endswith("grpo_verifier_arithmetic_seed7")
    assert "kl: 0.01" in (folder / "config.yaml").read_text()
    assert json.loads((folder / "origin.json").read_text())["command"][-1] == "algorithm.kl=0.01"
    assert json.loads((folder / "origin.json").read_text())["choices"]["algorithm"] == "grpo"
    assert json.loads((folder / "status.json").read_text())["state"] == "finished"
    out = capfd.readouterr().out
    assert "held-out accuracy 0.25 -> 0.50 in 1 update" in out and str(folder) in out.replace("\n", "")
    assert "noise" not in out and "noise of a library" in (folder / "logs" / "driver.log").read_text()


def test_a_failed_run_gives_a_one_line_error_and_keeps_its_files(loop, words, tmp_path, capfd):
    loop.error = RuntimeError("the engine died: out of memory\nlong story")
    assert launch.train.main(words) == 1
    (folder,) = runs(tmp_path)
    out = capfd.readouterr().out
    assert "error: the engine died: out of memory" in out and "long story" not in out
    assert "long story" in (folder / "logs" / "traceback.txt").read_text()
    assert json.loads((folder / "status.json").read_text())["reason"].startswith("the engine died")
    assert (folder / "metrics.jsonl").read_text().count("\n") == 1


def test_ctrl_c_stops_a_run_cleanly(loop, words, tmp_path, capfd):
    loop.error = KeyboardInterrupt()
    assert launch.train.main(words) == 130
    assert "stopped by Ctrl-C" in capfd.readouterr().out


def test_sigterm_stops_a_run_like_ctrl_c(loop, words, tmp_path, capfd):
    loop.error = Terminated()
    assert launch.train.main(words) == 143
    assert "stopped by SIGTERM" in capfd.readouterr().out
    (folder,) = runs(tmp_path)
    status = json.loads((folder / "status.json").read_text())
    assert (status["state"], status["reason"]) == ("failed", "stopped by SIGTERM")


def test_a_stopped_sweep_starts_no_more_runs_and_says_so(loop, words, tmp_path, capfd):
    loop.error = KeyboardInterrupt()
    assert launch.train.main([*words, "-m", "seed=1,2,3"]) == 130
    assert len(loop.seen) == 1 and len(runs(tmp_path)) == 1
    out = capfd.readouterr().out
    assert out.count("skipped, because the previous run was interrupted") == 2 and "seed=3" in out


def test_each_run_of_a_sweep_has_its_own_folder_and_a_failed_one_does_not_stop_it(loop, words, tmp_path):
    loop.error = RuntimeError("broken")
    assert launch.train.main([*words, "-m", "seed=1,2", "algorithm.kl=0.0,0.1"]) == 1
    assert [(settings.loop.seed, settings.algorithm.kl) for settings in loop.seen] == [
        (1, 0),
        (1, 0.1),
        (2, 0),
        (2, 0.1),
    ]
    assert len(runs(tmp_path)) == 4


class Counted(VerifierReward):
    """A verifier that counts how often it is built."""

    built = 0

    def __init__(self, timeout_s: float = 5.0) -> None:
        super().__init__(timeout_s)
        Counted.built += 1


def test_the_driver_composes_checks_and_builds_every_run_once(loop, words, monkeypatch, capfd):
    composed = []
    monkeypatch.setattr(launch.train, "compose", lambda words: composed.append(words) or compose(words))
    monkeypatch.setattr(Counted, "built", 0)
    target = f"reward._target_={__name__}.Counted"
    assert launch.train.main([*words, target, "-m", "seed=1,2"]) == 0
    assert (len(composed), Counted.built, len(loop.seen)) == (1, 2, 2)
    assert "run 2 of 2: " in capfd.readouterr().out


def test_no_run_of_a_sweep_starts_if_one_is_invalid(loop, words, tmp_path, capfd):
    assert launch.train.main([*words, "-m", "rollout.responses=4,1"]) == 2
    assert "run 2 of 2" in capfd.readouterr().err
    assert loop.seen == [] and not (tmp_path / "runs").exists()


def test_the_runs_of_a_sweep_cannot_share_a_folder(loop, words, capfd):
    assert launch.train.main([*words, "-m", "seed=1,2", "run_dir=here"]) == 2
    assert "run_dir=here" in capfd.readouterr().err


def test_a_chosen_folder_is_used_once(loop, words, tmp_path, capfd):
    assert launch.train.main([*words, "run_dir=mine"]) == 0
    assert (tmp_path / "mine" / "config.yaml").is_file()
    assert launch.train.main([*words, "run_dir=mine"]) == 2
    assert "mine is not empty" in capfd.readouterr().err


def test_a_dry_run_shows_the_plan_and_starts_nothing(loop, words, tmp_path, capfd):
    assert launch.train.main([*words, "dry_run=true"]) == 0
    assert "What would run where" in capfd.readouterr().out
    assert loop.seen == [] and not (tmp_path / "runs").exists()


def test_a_misspelt_option_is_one_line_and_exit_code_2(tmp_path):
    command = [sys.executable, "-m", "launch.train", "algorithm.kll=0.01"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == "error: there is no key algorithm.kll; did you mean algorithm.kl?\n"


def test_help_is_short_and_lists_the_groups(loop, capfd):
    with pytest.raises(SystemExit) as ended:
        launch.train.main(["--help"])
    assert ended.value.code == 0
    text = capfd.readouterr().out
    assert "reward:" in text and "grpo" in text and len(text.splitlines()) < 40


@pytest.fixture
def task_words(words, problem_files, tmp_path):
    """A run on files, of which one row cannot be used and one prompt is too long."""
    rows = Path(problem_files[0]).read_text().splitlines()
    rows[1:1] = ['{"problem": "cut', json.dumps({"problem": "1 + 1 " * 400, "answer": 2})]
    train = tmp_path / "with_bad_rows.jsonl"
    train.write_text("\n".join(rows) + "\n")
    return [*words, "task=jsonl", f"task.train={train}", f"task.held_out={problem_files[1]}", f"run_dir={tmp_path}/run"]


def test_rows_left_out_are_reported_before_the_start_and_written_to_the_run_folder(loop, task_words, tmp_path, capfd):
    assert launch.train.main([*task_words, "task.overlong=drop"]) == 0
    said = capfd.readouterr().out.replace("\n", "")
    assert "with_bad_rows.jsonl, line 2: not valid JSON" in said
    assert "with_bad_rows.jsonl, line 3: the prompt is longer than the" in said
    assert "20 problems are used, 2 rows were left out" in said
    rejects = [json.loads(row) for row in (tmp_path / "run" / "rejects.jsonl").read_text().splitlines()]
    assert [row["line"] for row in rejects] == [2, 3]
    data = json.loads((tmp_path / "run" / "data.json").read_text())
    assert data["train"]["problems"] == 20 and len(data["train"]["sha256"]) == 64
    assert data["train"]["files"][0]["used"] == 20 and data["train"]["files"][0]["rejected"] == 2


def test_a_prompt_beyond_the_first_rollout_that_is_too_long_is_refused_before_the_start(loop, task_words, capfd):
    assert launch.train.main(task_words) == 2
    error = capfd.readouterr().err
    assert "1 of 21 prompts are longer than" in error and "with_bad_rows.jsonl, line 3" in error
    assert "task.overlong=drop" in error and error.count("\n") == 1
    assert loop.seen == []


def test_a_missing_training_file_is_an_error_that_names_the_key(loop, words, problem_files, capfd):
    assert launch.train.main([*words, "task=jsonl", f"task.held_out={problem_files[1]}"]) == 2
    assert capfd.readouterr().err.startswith("error: task.train has no default: give it as task.train=...")
    assert launch.train.main([*words, "task=jsonl", f"task.train={problem_files[0]}"]) == 2
    assert capfd.readouterr().err.startswith("error: task.held_out has no default: give it as task.held_out=...")


def test_a_mix_of_files_is_given_by_names_and_weights(loop, words, problem_files):
    both = f"task.train=[{problem_files[0]},{problem_files[1]}]"
    more = [both, f"task.held_out={problem_files[1]}", "task.overlap=drop", "task.weights=[2,1]"]
    assert launch.train.main([*words, "task=jsonl", *more]) == 2, "nothing is left of the second file"
    assert launch.train.main([*words, "task=jsonl", f"task.train=[{problem_files[0]}]", *more[1:3]]) == 0
