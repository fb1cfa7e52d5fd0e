"""The benchmark of one update: what it runs, and what it makes of the figures."""

from pathlib import Path

import pytest

from launch.bench import updates


def rows(seconds: float, **stages: float) -> list[dict]:
    return [{"seconds": seconds, **{f"time/{name}": value for name, value in stages.items()}}] * 3


def test_every_algorithm_runs_at_every_size_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []

    def run(job: dict, words: tuple[str, ...], folder: Path) -> list[dict]:
        asked.append((job["algorithm"], job["problems"]))
        assert words[-1] == "cluster.threads=2"
        return rows(2.0 if job["algorithm"] == "grpo" else 3.0, sample=1.0, learn=0.5, sync=0.1)

    monkeypatch.setattr(updates, "our_updates", run)
    words = ["--algorithms", "grpo", "ppo", "--problems", "4", "8", "--words", "cluster.threads=2"]
    cells = updates.measure(updates.parse(words))
    turn = [("grpo", 4), ("grpo", 8), ("ppo", 4), ("ppo", 8)]
    assert asked == [*turn, *turn]
    text = updates.markdown(cells, {"machine": "two cores"})
    assert "| grpo | 8 x 8 | 2.00 | 1.00 | 31.25 | 0.50 | 25.0% | 6 |" in text
    assert "| ppo | 4 x 8 | 3.00 | 1.50 | 93.75 | 1.50 | 50.0% | 6 |" in text


def test_waiting_for_a_rollout_drawn_ahead_is_work() -> None:
    assert updates.Cell("grpo", 4, 8, rows(2.0, wait=1.0, learn=1.0)).overhead == 0


@pytest.mark.parametrize("words", [["--updates=1"], ["--problems=0"], ["--algorithms=other"], ["--responses=1"]])
def test_options_that_cannot_work_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        updates.parse(words)
    assert words[0].split("=")[0] in capsys.readouterr().err


def test_a_failed_run_is_one_line_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*_: object) -> list[dict]:
        raise RuntimeError("-m launch.train ended with exit code 2: error: why")

    monkeypatch.setattr(updates, "our_updates", run)
    assert updates.main([]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "error: -m launch.train ended with exit code 2: error: why"
