"""The comparison of runs: what it says, and which folders it leaves out aloud."""

import json
from pathlib import Path

import pytest

from launch import report


def write_run(folder: Path, accuracies: list[float]) -> Path:
    folder.mkdir()
    rows = [
        {"update": 5 * index, "seconds": 61.0 * index, "accuracy/held_out": value, "reward/held_out": 1 - value}
        for index, value in enumerate(accuracies)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_the_table_shows_truth_before_and_after_with_the_reward_beside_it(tmp_path: Path) -> None:
    write_run(tmp_path / "2026-01-01_00-00-00_grpo_prm_arithmetic_seed2", [0.4, 0.5, 0.75])
    runs, left_out = report.read_all(list(tmp_path.iterdir()))
    assert not left_out
    line = report.table(runs).splitlines()[-1]
    assert line.startswith("| grpo_prm_arithmetic | 2 | 10 | 0.400 -> 0.750 | +0.350 | 0.600 -> 0.250 |")
    assert "2 min 2 s" in line


def test_a_folder_without_two_evaluations_is_named_and_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "good", [0.1, 0.2])
    write_run(tmp_path / "short", [0.1])
    assert report.main([str(tmp_path / "good"), str(tmp_path / "short"), str(tmp_path / "missing")]) == 0
    errors = capsys.readouterr().err
    assert "short: fewer than two evaluations" in errors
    assert "missing" in errors


def test_no_run_at_all_is_an_error(tmp_path: Path) -> None:
    assert report.main([str(tmp_path)]) == 2


def test_the_plot_is_a_picture(tmp_path: Path) -> None:
    run = write_run(tmp_path / "grpo_orm_seed1", [0.4, 0.6])
    assert report.main([str(run), "--plot", str(tmp_path / "curves.png")]) == 0
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
