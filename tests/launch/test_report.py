"""The comparison of runs: what it says, and which folders it leaves out aloud."""

import json
from pathlib import Path

import pytest

from launch import report
from launch.report_matrix import cell_of


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


def test_the_matrix_puts_rewards_against_algorithms_and_keeps_the_seeds_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, accuracies in {
        "2026-01-01_00-00-00_grpo_verifier_arithmetic_seed1": [0.4, 0.8],
        "2026-01-01_00-00-00_grpo_verifier_arithmetic_seed2": [0.4, 0.7],
        "2026-01-01_00-00-00_dpo_prm_steps_arithmetic_seed1": [0.4, 0.5],
    }.items():
        write_run(tmp_path / name, accuracies)
    assert report.main([str(tmp_path / name.name) for name in tmp_path.iterdir()] + ["--matrix"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| reward | grpo | dpo |"
    assert lines[2] == "| verifier | 0.400 -> 0.750 (+0.400, +0.300) | - |"
    assert lines[3] == "| prm_steps | - | 0.400 -> 0.500 (+0.100) |"
    (line,) = [line for line in lines if line.startswith("| verifier | grpo | 1, 2 |")]
    assert "0.600 -> 0.250" in line


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("dr_grpo_prm_product_arithmetic", ("prm_product", "dr_grpo")),
        ("ppo_orm_gsm8k", ("orm", "ppo")),
        ("mine_orm_arithmetic", ("orm", "mine")),
    ],
)
def test_a_runs_name_says_its_reward_and_algorithm(name: str, cell: tuple[str, str]) -> None:
    assert cell_of(name) == cell


def test_kl_belongs_to_the_matrix() -> None:
    with pytest.raises(SystemExit):
        report.main(["folder", "--kl"])
