from __future__ import annotations

import json

import pytest

from launch.evaluate.__main__ import main
from tests.launch.evaluate.commands import evaluate, figures


def test_bad_rows_are_noted_and_written_to_the_rejects(solutions, capfd):
    solutions.write_text('{"prompt": "cut sho\n' + solutions.read_text() + '{"prompt": "?", "answers": ["x"]}\n')
    assert evaluate(solutions) == 0
    assert figures(solutions)["problems"] == 9
    said = capfd.readouterr().out
    assert "solutions.jsonl, line 1: not valid JSON" in said
    assert "solutions.jsonl, line 11: neither labels nor a reference answer" in said
    rejects = (solutions.parent / "found" / "rejects.jsonl").read_text().splitlines()
    assert [json.loads(one)["line"] for one in rejects] == [1, 11]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rewards=[omr]"], "did you mean orm"),
        (['rewards=["verifier timeout=3"]'], "did you mean reward.timeout_s"),
        (["rewards=[verifier,verifier]"], "rewards: verifier is listed twice"),
        (["rewards=[armorm]", "+x=1"], "unknown key x"),
        (["kind=best_of_m"], "did you mean best_of_n"),
        (["n=[0]"], "n must be sizes of at least 1"),
        (["level=2"], "level must be in (0, 1)"),
        (["threshold=7"], "threshold must be in [-1, 1], not 7"),
        (["n=[8]"], "has that many responses, the most is 4; give smaller sizes as n=[1,4]"),
        (["kind=process_bench"], "rewards is empty: name the rewards that score the steps"),
        (["kind=process_bench", "rewards=[prm]"], "no usable row for kind=process_bench: line 1: there is no problem"),
        (["kind=reward_bench"], "rewards is empty: name the rewards that score the pairs"),
        (
            ["kind=reward_bench", "rewards=[verifier]"],
            "no usable row for kind=reward_bench: line 1: there is no subset",
        ),
        (["input=null", "n=[2,8]", "rollout.responses=4"], "n=8 is too large: only rollout.responses=4 are drawn"),
        (["input=nowhere.jsonl"], "input nowhere.jsonl: there is no such file"),
        (["input=null", "kind=process_bench"], "kind=process_bench needs input=FILE"),
        (["rewards=verifier"], "rewards: expected"),
        (["-m", "seed=1,2"], "does not run sweeps"),
    ],
)
def test_bad_input_is_refused_in_one_line_before_anything_starts(solutions, capfd, words, message):
    assert evaluate(solutions, *words) == 2
    errors = capfd.readouterr().err.strip()
    assert errors.startswith("error: ")
    assert message in errors
    assert "\n" not in errors
    assert not (solutions.parent / "found").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["problems=5"], "problems: 5 held-out problems were requested, but held_out has only 2"),
        (["problems=2", "task.answer=null"], "task: its problems have no answers"),
        (
            ["problems=2", "rollout.max_model_len=130"],
            "longer than the 2 tokens that rollout.max_model_len",
        ),
    ],
)
def test_a_task_without_answers_is_refused_before_sampling(tmp_path, capfd, words, message):
    for name in ("train", "held_out"):
        rows = [{"problem": f"{name} {n}?", "answer": str(n)} for n in range(2)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = [f"task.{name}={tmp_path / name}.jsonl" for name in ("train", "held_out")]
    assert main([f"folder={tmp_path / 'found'}", "task=jsonl", *files, *words]) == 2
    assert message in capfd.readouterr().err
    assert not (tmp_path / "found").exists()


def test_a_folder_with_another_evaluation_is_not_touched(solutions, capfd):
    assert evaluate(solutions) == 0
    solutions.write_text(solutions.read_text() * 2)
    assert evaluate(solutions) == 2
    assert "contains an evaluation that differs in" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("content", "words", "message"),
    [
        ({"alpacaeval-easy": 97}, (), "subset alpacaeval-easy: an accuracy must be in [0, 1], not 97"),
        ({"alpacaeval-easy": 0.97}, ("rewards=[verifier]",), "contains accuracies, not pairs to score"),
    ],
)
def test_a_refused_input_can_be_fixed_and_used_with_the_same_folder(tmp_path, capfd, content, words, message):
    file = tmp_path / "accuracies.json"
    file.write_text(json.dumps(content))
    assert evaluate(file, "kind=reward_bench", *words) == 2
    assert message in capfd.readouterr().err
    file.write_text(json.dumps({"alpacaeval-easy": 0.97}))
    assert evaluate(file, "kind=reward_bench") == 0


def test_labels_of_a_single_class_give_a_warning_without_a_reward(tmp_path, capfd):
    file = tmp_path / "solutions.jsonl"
    file.write_text(json.dumps({"prompt": "?", "answers": ["A: 1", "A: 2"], "label": [0, 0]}) + "\n")
    assert evaluate(file) == 0
    assert "WARNING: there is no correct response among these" in capfd.readouterr().out


def test_rows_that_would_break_the_libraries_are_the_only_ones_lost(solutions, capfd):
    """Half an emoji reaches tokenizers and files, a huge integer and a deep nest stop the parser."""
    row = json.loads(solutions.read_text().splitlines()[0])
    cut = json.dumps(row | {"answers": ["cut \ud83d", "b", "c", "d"]})
    huge = json.dumps(row | {"id": "?"}).replace('"?"', "9" * 5000)
    deep = json.dumps(row | {"id": "?"}).replace('"?"', "[" * 5000 + "]" * 5000)
    solutions.write_text("\n".join([cut, huge, deep]) + "\n" + solutions.read_text())
    assert evaluate(solutions, "rewards=[verifier]") == 0
    assert figures(solutions)["problems"] == 9
    assert figures(solutions)["rejected"] == 3
    said = capfd.readouterr().out
    assert "3 rows could not be used: see rejects.jsonl" in said
    rejects = (solutions.parent / "found" / "rejects.jsonl").read_text().splitlines()
    assert [json.loads(one)["line"] for one in rejects] == [1, 2, 3]
