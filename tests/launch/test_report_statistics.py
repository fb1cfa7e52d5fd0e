"""launch.report --statistics: the conclusion in Markdown, and what cannot be compared."""

from __future__ import annotations

from pathlib import Path

import pytest

from launch import report
from tests.rl.study.made_runs import made_run


def shown(folder: Path, *words: str) -> int:
    return report.main([*map(str, sorted(folder.iterdir())), "--statistics", *words])


def test_the_statistics_are_sentences_and_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for reward, end in (("orm", 0.6), ("prm", 0.8)):
        for algorithm in ("grpo", "ppo"):
            for seed in (1, 2, 3):
                choices = {"reward": reward, "algorithm": algorithm}
                made_run(tmp_path / f"{reward}{algorithm}{seed}", seed, choices, accuracies=[0.45, end + seed / 100])
    assert shown(tmp_path) == 0
    text = capsys.readouterr().out
    assert text.startswith("1. 12 runs of 4 settings (2 rewards, 2 algorithms; 3 seeds each)")
    assert "| settings | IQM, 95% interval | mean | every run |" in text
    assert "| prm | 0.820 [" in text and "- prm is above orm by 0.200 [0.200, 0.200]" in text
    assert "| algorithms, over all rewards | IQM" in text and "- grpo and ppo came out equal" in text


def test_other_metrics_can_be_compared_the_lowest_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made_run(tmp_path / "a", 1, {"reward": "orm"}, rewards=[0.5, 0.5, 0.3])
    made_run(tmp_path / "b", 1, {"reward": "prm"}, rewards=[0.5, 0.5, 0.9])
    assert shown(tmp_path, "--metric", "reward/held_out", "--lower-is-better") == 0
    assert "orm came out best, with mean reward on held-out problems 0.300" in capsys.readouterr().out


def test_an_unknown_metric_is_one_line_with_the_nearest_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made_run(tmp_path / "a")
    assert shown(tmp_path, "--metric", "learner/entropi") == 2
    assert capsys.readouterr().err == "error: no run has the metric learner/entropi; did you mean learner/entropy?\n"


def test_runs_that_lack_the_metric_or_are_unfinished_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b", "c"):
        made_run(tmp_path / name, ord(name), state="failed")
    half = tmp_path / "b/metrics.jsonl"
    half.write_text("".join(half.read_text().splitlines(keepends=True)[:8]))
    bare = tmp_path / "c/metrics.jsonl"
    bare.write_text(bare.read_text().replace("learner/entropy", "other/entropy"))
    assert shown(tmp_path, "--metric", "learner/entropy") == 0
    assert capsys.readouterr().err.splitlines() == [
        f"left out: {tmp_path / 'c'}: has no metric learner/entropy",
        f"left out: {tmp_path / 'b'}: not finished: 5 updates are missing",
    ]


@pytest.mark.parametrize("words", [["--metric", "x"], ["--lower-is-better"], ["--statistics", "--matrix"]])
def test_options_that_would_be_ignored_are_refused(tmp_path: Path, words: list[str]) -> None:
    with pytest.raises(SystemExit):
        report.main([str(tmp_path), *words])


def test_runs_none_of_which_is_finished_are_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = made_run(tmp_path / "a", state="failed")
    rows = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(rows[:7]))
    assert shown(tmp_path) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "error: none of these runs is finished"
