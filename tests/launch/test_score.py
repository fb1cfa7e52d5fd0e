from __future__ import annotations

import json
import shutil
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


def test_every_record_is_written_in_order_with_its_scores(source, capfd):
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


def test_an_interrupted_scoring_resumes_where_it_stopped(source, capfd, monkeypatch):
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
    assert "27 responses: 27 scored, mean 0.3333, 0 failed; 9 in this run" in capfd.readouterr().out


def test_a_finished_file_is_left_as_it_is(source):
    assert score(source) == score(source) == 0
    assert len(written(source)) == 9


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["reward.timeout_s=9"], "was made with another reward: delete the output"),
        (["reward=verfier"], "did you mean verifier"),
        (["reward.timeout=9"], "did you mean reward.timeout_s"),
        (["input=nowhere.jsonl"], "input nowhere.jsonl: there is no such file"),
        (["batch=0"], "batch must be at least 1"),
        (["replicas=-1"], "replicas must be at least 0"),
        (["batch=x"], "batch"),
        (["reward=orm", "reward.model=nowhere"], "there is no model folder"),
    ],
)
def test_bad_input_is_refused_in_one_line(source, capfd, words, message):
    assert score(source) == 0
    capfd.readouterr()
    assert score(source, *words) == 2
    errors = capfd.readouterr().err.strip()
    assert errors.startswith("error: ")
    assert message in errors
    assert "\n" not in errors


def test_only_the_rows_that_cannot_be_scored_are_lost(source, capfd):
    lines = source.read_text().splitlines()
    lines[1:1] = ['{"problem": "q"', '{"problem": "q", "response": "\\ud83d"}', '{"problem": "", "response": "a"}']
    source.write_text("\n".join(lines))
    assert score(source) == 0
    assert len(written(source)) == 9
    rejects = [json.loads(row) for row in (source.parent / "out.jsonl.rejects.jsonl").read_text().splitlines()]
    assert [(row["file"], row["line"]) for row in rejects] == [(str(source), line) for line in (2, 3, 4)]
    said = capfd.readouterr().out
    assert f"1 row was left out: {source}, line 3: response: half a character" in said


def test_a_file_without_a_usable_row_is_refused_with_the_first_reason(source, capfd):
    source.write_text('\n{"problem": "q"}\n')
    assert score(source) == 2
    assert "has no row that can be scored; the first, line 2: there are no responses" in capfd.readouterr().err


def test_fields_may_have_other_names_in_the_row(source):
    source.write_text(json.dumps({"extra": {"q": "What is 1?"}, "samples": ["The answer is: 1"], "gold": 1}) + "\n")
    assert score(source, "fields={problem: extra.q, responses: samples, answer: gold}") == 0
    [row] = written(source)
    assert row["scores"][0]["value"] == 1.0
    assert row["extra"] == {"q": "What is 1?"}


def changed_record(rows):
    rows[1]["responses"][0] = "The answer is: 5"


def record_before(rows):
    rows.insert(0, {"problem": "new", "responses": ["a"], "answer": "1"})


def record_gone(rows):
    del rows[2:]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed_record, "line 2 of input"),
        (record_before, "line 1 of input"),
        (record_gone, "no longer has row 3 of output"),
    ],
)
def test_scores_of_records_that_changed_since_are_not_kept(source, capfd, change, message):
    assert score(source) == 0
    rows = [json.loads(line) for line in source.read_text().splitlines()]
    change(rows)
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    before = written(source)
    assert score(source) == 2
    error = capfd.readouterr().err
    assert message in error and "delete the output to score everything again" in error
    assert written(source) == before


def test_records_added_at_the_end_are_scored_and_the_others_stay(source):
    assert score(source) == 0
    with source.open("a") as file:
        file.write(json.dumps({"problem": "more", "responses": ["The answer is: 1"], "answer": "1"}) + "\n")
    before = written(source)
    assert score(source) == 0
    assert written(source)[:-1] == before and written(source)[-1]["problem"] == "more"


def test_a_replaced_model_is_detected(source, capfd, tmp_path):
    model = tmp_path / "prm"
    shutil.copytree("rl/tasks/arithmetic/models/prm", model)
    words = ("reward=prm", f"reward.model={model}")
    assert score(source, *words) == 0
    assert score(source, *words) == 0
    weights = model / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1  # same name, same size
    weights.write_bytes(content)
    capfd.readouterr()
    assert score(source, *words) == 2
    assert "was made with different contents of reward.model: delete the output" in capfd.readouterr().err


@pytest.mark.e2e
def test_ray_replicas_give_the_same_file(source):
    assert score(source, "replicas=2") == 0
    assert [[one["value"] for one in row["scores"]] for row in written(source)] == [[1, 0, 0]] * 9
