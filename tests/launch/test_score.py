from __future__ import annotations

import json
from pathlib import Path

import pytest

from launch.score import main
from rewards.verifier import VerifierReward


class Fussy(VerifierReward):
    """Breaks at the third batch while `broken` is there."""

    broken = False

    def score(self, groups):
        if Fussy.broken and any("7" in group.problem.text for group in groups):
            raise RuntimeError("the machine is on fire")
        return super().score(groups)


@pytest.fixture
def source(tmp_path) -> Path:
    file = tmp_path / "in.jsonl"
    rows = [
        {"problem": f"What is {n}?", "responses": [f"The answer is: {n}", "The answer is: 0", "?"], "answer": str(n)}
        for n in range(1, 10)
    ]
    file.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    return file


def score(source: Path, *words: str) -> int:
    return main([f"input={source}", f"output={source.parent / 'out.jsonl'}", "reward=verifier", "batch=6", *words])


def written(source: Path) -> list[dict]:
    return [json.loads(line) for line in (source.parent / "out.jsonl").read_text().splitlines()]


def test_every_record_comes_out_in_order_with_its_scores(source, capfd):
    assert score(source) == 0
    rows = written(source)
    assert [row["problem"] for row in rows] == [f"What is {n}?" for n in range(1, 10)]
    assert all([one["value"] for one in row["scores"]] == [1, 0, 0] for row in rows)
    assert "27 responses: 27 scored, mean 0.3333, 0 failed" in capfd.readouterr().out


def test_failures_are_counted_by_reason(source, capfd):
    source.write_text('{"problem": "q", "responses": ["a", "b"]}\n')
    assert score(source) == 0
    assert "2 failed: the problem has no reference answer" in capfd.readouterr().out
    assert written(source)[0]["scores"] == [{"failure": "the problem has no reference answer"}] * 2


def test_a_run_that_broke_goes_on_where_it_stopped(source, capfd, monkeypatch):
    fussy = "reward._target_=tests.launch.test_score.Fussy"
    monkeypatch.setattr(Fussy, "broken", True)
    assert score(source, fussy) == 1
    assert "error: the machine is on fire" in capfd.readouterr().out
    half = written(source)
    assert len(half) == 6
    output = source.parent / "out.jsonl"
    output.write_text(output.read_text() + '{"problem": "cut sho')
    monkeypatch.setattr(Fussy, "broken", False)
    assert score(source, fussy) == 0
    assert written(source)[:6] == half
    assert [row["problem"] for row in written(source)] == [f"What is {n}?" for n in range(1, 10)]
    assert "27 responses: 27 scored, mean 0.3333, 0 failed; 9 now" in capfd.readouterr().out


def test_a_finished_file_is_left_as_it_is(source):
    assert score(source) == score(source) == 0
    assert len(written(source)) == 9


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["reward.timeout_s=9"], "holds scores of another reward or input"),
        (["reward=verfier"], "did you mean verifier"),
        (["reward.timeout=9"], "did you mean reward.timeout_s"),
        (["input=nowhere.jsonl"], "input nowhere.jsonl: there is no such file"),
        (["batch=0"], "batch must be at least 1"),
        (["replicas=-1"], "replicas must be at least 0"),
        (["batch=x"], "batch"),
        (["reward=orm", "reward.model=nowhere"], "there is no such folder"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(source, capfd, words, message):
    assert score(source) == 0
    capfd.readouterr()
    assert score(source, *words) == 2
    errors = capfd.readouterr().err.strip()
    assert errors.startswith("error: ")
    assert message in errors
    assert "\n" not in errors


@pytest.mark.e2e
def test_ray_replicas_give_the_same_file(source):
    assert score(source, "replicas=2") == 0
    assert [[one["value"] for one in row["scores"]] for row in written(source)] == [[1, 0, 0]] * 9
