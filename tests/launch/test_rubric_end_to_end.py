"""Training on the verdicts of a generative judge: one rubric for all problems, and one of each problem's own."""

import json
from itertools import islice
from pathlib import Path

import pytest

from rl.tasks.arithmetic import ArithmeticTask
from tests.launch.test_train_end_to_end import lines, train

pytestmark = pytest.mark.e2e


def trained(folder: Path, *words: str) -> list[dict]:
    done = train(folder, "logger.progress=plain", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    updates = [row for row in lines(folder / "metrics.jsonl") if "reward/mean" in row]
    assert len(updates) == 2 and all(0 <= row["reward/mean"] <= 1 for row in updates)
    assert any(row["learner/grad_norm"] > 0 for row in updates)
    return updates


def test_a_rubric_for_all_problems_trains_the_policy(tmp_path: Path) -> None:
    for row in trained(tmp_path / "run", "reward=rubric_tiny"):
        assert row["reward/part/correct"] == pytest.approx(row["reward/mean"])


def test_each_problems_own_rubric_trains_the_policy_and_weight_zero_is_only_shown(tmp_path: Path) -> None:
    task = ArithmeticTask()
    for name, problems in (("train", islice(task.train_problems(1), 64)), ("held_out", task.held_out_problems(16))):
        rows = []
        for problem in problems:
            rubric = [{"name": "solved", "text": problem.text}, {"name": "shown", "text": problem.text, "weight": 0}]
            rows.append({"problem": problem.text, "answer": problem.answer, "rubric": rubric})
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = [f"task.{name}={tmp_path / name}.jsonl" for name in ("train", "held_out")]
    for row in trained(
        tmp_path / "run", "task=jsonl", *files, "task.overlap=drop", "reward=rubric_tiny", "reward.criteria=null"
    ):
        assert row["reward/part/solved"] == row["reward/part/shown"] == pytest.approx(row["reward/mean"])
