"""Which runs are one setting, which settings are compared, and what is left out and said."""

from __future__ import annotations

from pathlib import Path

import pytest

from rl.run.past_runs import read_all
from rl.study.settings import Study, arrange, differences
from tests.rl.study.made_runs import CONFIG, made_run


def study_of(folder: Path) -> Study:
    runs, left_out = read_all(sorted(folder.iterdir()))
    return arrange(runs, left_out)


def test_runs_that_differ_only_in_the_seed_are_one_setting(tmp_path: Path) -> None:
    for seed in (2, 10, 1):
        made_run(tmp_path / f"run{seed}", seed)
    [exam] = study_of(tmp_path).exams
    [setting] = exam.settings
    assert [run.seed for run in setting.runs] == ["1", "2", "10"] and setting.label == "prm"


@pytest.mark.parametrize(
    ("config", "label"),
    [
        ({"algorithm": {**CONFIG["algorithm"], "kl": 0.0}}, "prm kl=0.0"),
        ({"learner": {"learning_rate": 1e-3}}, "prm learning_rate=0.001"),
        ({"reward": {**CONFIG["reward"], "model": "/other/prm"}}, "prm model=/other/prm"),
    ],
)
def test_any_difference_in_the_configuration_makes_another_setting(tmp_path: Path, config: dict, label: str) -> None:
    made_run(tmp_path / "a"), made_run(tmp_path / "b", config=config)
    settings = study_of(tmp_path).settings
    assert len(settings) == 2 and label in {one.label for one in settings}
    assert len(differences(settings)) == 1


def test_the_shipped_models_are_the_same_in_every_checkout(tmp_path: Path) -> None:
    here = {**CONFIG["reward"], "model": "/home/a/rl/tasks/arithmetic/models/prm"}
    made_run(tmp_path / "a", 1, config={"reward": here}), made_run(tmp_path / "b", 2)
    assert len(study_of(tmp_path).settings) == 1


@pytest.mark.parametrize(
    ("choices", "config"),
    [
        ({"task": "sums"}, {"task": {"_target_": "rl.tasks.sums.SumsTask"}}),
        ({}, {"evaluate_problems": 100}),
        ({}, {"evaluate": {"temperature": 0}}),
        ({}, {"task": {**CONFIG["task"], "largest": 50}}),
    ],
)
def test_settings_that_were_examined_differently_are_not_compared(tmp_path: Path, choices: dict, config: dict) -> None:
    made_run(tmp_path / "a", 1), made_run(tmp_path / "b", 2)
    made_run(tmp_path / "c", 1, choices, config)
    first, second = study_of(tmp_path).exams
    assert len(first.runs) == 2 and len(second.runs) == 1
    assert first.label and second.label and first.label != second.label


def test_labels_name_the_algorithm_only_where_there_are_several(tmp_path: Path) -> None:
    made_run(tmp_path / "a"), made_run(tmp_path / "b", choices={"reward": "orm"})
    assert {one.label for one in study_of(tmp_path).settings} == {"prm", "orm"}
    made_run(tmp_path / "c", choices={"algorithm": "ppo"})
    assert {one.label for one in study_of(tmp_path).settings} == {"prm grpo", "orm grpo", "prm ppo"}


def test_a_repeated_run_counts_once(tmp_path: Path) -> None:
    made_run(tmp_path / "a"), made_run(tmp_path / "b")
    study = study_of(tmp_path)
    assert len(study.runs) == 1
    assert study.left_out == ((tmp_path / "b", f"repeats the configuration and the seed of {tmp_path / 'a'}"),)


@pytest.mark.parametrize("state", ["running", "failed"])
def test_an_unfinished_run_is_left_out_and_named(tmp_path: Path, state: str) -> None:
    made_run(tmp_path / "a", 1), made_run(tmp_path / "b", 2, state=state)
    rows = (tmp_path / "b/metrics.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "b/metrics.jsonl").write_text("".join(rows[:7]))
    study = study_of(tmp_path)
    assert study.left_out == ((tmp_path / "b", "not finished: 5 updates are missing"),)


def test_a_run_that_ended_early_by_itself_is_finished_and_one_setting_with_those_that_did_not(tmp_path: Path) -> None:
    made_run(tmp_path / "a", 1), made_run(tmp_path / "b", 2)
    rows = (tmp_path / "a/metrics.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "a/metrics.jsonl").write_text("".join(rows[:7]))
    [setting] = study_of(tmp_path).settings
    assert [run.last_update for run in setting.runs] == [5, 10]


def test_runs_that_do_not_name_their_options_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    for name in ("first_seed1", "first_seed2", "second_seed1"):
        run = made_run(tmp_path / name, seed=int(name[-1]))
        (run / "origin.json").unlink()
    assert [(one.label, len(one.runs)) for one in study_of(tmp_path).settings] == [("first", 2), ("second", 1)]
