from __future__ import annotations

import json
from pathlib import Path

import pytest

from launch.evaluate.__main__ import main
from tests.launch.evaluate import rewards
from tests.launch.evaluate.rewards import Fussy

HERE = rewards.__name__


def reward(name: str) -> str:
    return f"{name.lower()}: verifier _target_={HERE}.{name}"


@pytest.fixture
def solutions(tmp_path) -> Path:
    """Nine problems of four responses; the first is always right, the others announce other answers."""
    file = tmp_path / "solutions.jsonl"
    rows = [
        {
            "prompt": f"What is {n}?",
            "answers": [f"The answer is: {n}", "Surely the answer is: 0", "Surely the answer is: 0", "Perhaps."],
            "label": [1, 0, 0, 0],
            "answer": str(n),
        }
        for n in range(1, 10)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def evaluate(source: Path, *words: str, folder: str = "found") -> int:
    return main([f"input={source}", f"folder={source.parent / folder}", "resamples=50", *words])


def figures(source: Path, folder: str = "found") -> dict:
    return json.loads((source.parent / folder / "report.json").read_text())


def accuracy(source: Path, method: str) -> dict[str, float]:
    return {size: round(one["value"], 3) for size, one in figures(source)["accuracy"][method].items()}


def test_without_a_reward_there_are_chance_voting_and_the_oracle(solutions, capfd):
    assert evaluate(solutions) == 0
    assert accuracy(solutions, "Pass@n (an oracle chooses)") == {"1": 0.25, "2": 0.5, "4": 1.0}
    assert accuracy(solutions, "Majority") == {"1": 0.25, "2": 0.333, "4": 0.0}
    assert figures(solutions)["columns"] == [1, 0, 0, 0]
    said = capfd.readouterr().out
    assert "| Majority | 25.0 [25.0, 25.0] | 33.3" in said
    assert "the verifier agrees with 36 of 36 labels (100.00%)" in said


def test_a_reward_is_a_row_of_its_own_with_its_trust(solutions, capfd):
    assert evaluate(solutions, f'rewards=["truth: verifier","{reward("Longest")}"]') == 0
    assert accuracy(solutions, "truth") == {"1": 0.25, "2": 0.5, "4": 1.0}
    assert accuracy(solutions, "longest") == {"1": 0.25, "2": 0.167, "4": 0.0}
    found = figures(solutions)
    assert found["trust"]["truth"]["report"]["auc"] == 1.0
    assert found["gains"]["truth"]["over majority"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert found["trust"]["longest"]["report"]["length"] == pytest.approx(1.0)
    assert list(found["agreement"]) == ["truth / longest"]
    assert found["calibration"]["truth: response right"]["error"] == 0.0
    assert "WARNING, longest: " in capfd.readouterr().out


def test_a_table_for_papers_and_a_plot_are_written(solutions):
    assert evaluate(solutions, "rewards=[verifier]") == 0
    folder = solutions.parent / "found"
    latex = (folder / "report.tex").read_text()
    assert r"verifier, weighted majority & 25.0 [25.0, 25.0]" in latex
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") >= 3
    assert (folder / "report.md").read_text().startswith("# Best of N: solutions.jsonl")
    assert (folder / "accuracy.png").read_bytes().startswith(b"\x89PNG")


def test_a_process_reward_has_a_row_for_each_aggregation(solutions):
    assert evaluate(solutions, f'rewards=["{reward("Steps")}"]') == 0
    names = list(figures(solutions)["accuracy"])
    assert [f"steps ({one})" for one in ("min", "product", "mean", "last")] == [n for n in names if n.endswith(")")][1:]


def test_a_judge_plays_a_tournament_of_every_size(tmp_path, capfd):
    file = tmp_path / "ones.jsonl"
    answers = ["The answer is: 1", "The answer is: 2", "The answer is: 3", "The answer is: 4"]
    file.write_text(
        "".join(json.dumps({"prompt": f"{n}?", "answers": answers, "answer": "1"}) + "\n" for n in range(40))
    )
    judge = f"judge: pairjudge_knockout judge._target_={HERE}.KnowingJudge"
    assert evaluate(file, f'rewards=["{judge}"]', "judge_fields=2") == 0
    found = accuracy(file, "judge")
    assert found["1"] == 0.25
    assert found["2"] == 0.5  # two disjoint fields hold the right one once, whatever the draw
    assert found["4"] == 1.0
    # One match of the first round has the right one, the other leaves nobody.
    assert "judge: 2.0 judgements a tournament of 4" in capfd.readouterr().out
    assert figures(file)["trust"]["judge"]["report"]["best"] == 1.0


def test_labels_that_the_verifier_doubts_are_listed(solutions, capfd):
    rows = solutions.read_text().splitlines()
    doubtful = json.loads(rows[2]) | {"label": [1, 1, 0, 0]}
    solutions.write_text("\n".join([*rows[:2], json.dumps(doubtful), *rows[3:]]) + "\n")
    assert evaluate(solutions) == 0
    assert "agrees with 35 of 36 labels (97.22%), the others are in disagreements.jsonl" in capfd.readouterr().out
    [one] = (solutions.parent / "found" / "disagreements.jsonl").read_text().splitlines()
    assert json.loads(one) == {"line": 3, "place": 1, "label": 1, "verifier": 0, "announced": "0", "reference": "3"}


def test_bad_rows_cost_a_note_and_a_line_among_the_rejects(solutions, capfd):
    solutions.write_text('{"prompt": "cut sho\n' + solutions.read_text() + '{"prompt": "?", "answers": ["x"]}\n')
    assert evaluate(solutions) == 0
    assert figures(solutions)["problems"] == 9
    said = capfd.readouterr().out
    assert "solutions.jsonl, line 1: not valid JSON" in said
    assert "solutions.jsonl, line 11: neither labels nor a reference answer" in said
    rejects = (solutions.parent / "found" / "rejects.jsonl").read_text().splitlines()
    assert [json.loads(one)["line"] for one in rejects] == [1, 11]


def test_failed_scores_are_counted_by_reason_and_never_chosen(solutions, capfd):
    solutions.write_text(solutions.read_text().replace("Perhaps.", "I refuse: the answer is a very long story."))
    assert evaluate(solutions, f'rewards=["{reward("Longest")}"]') == 0
    assert "longest: 9 scores failed: refused" in capfd.readouterr().out
    assert figures(solutions)["trust"]["longest"]["report"]["failed"] == 0.25


def test_problems_with_fewer_responses_are_left_out_and_counted(solutions, capfd):
    solutions.write_text(solutions.read_text() + '{"prompt": "?", "answers": ["A: 1"], "label": [1]}\n')
    assert evaluate(solutions) == 0
    assert figures(solutions)["problems"] == 9
    assert "1 problems with fewer than 4 responses were left out" in capfd.readouterr().out
    assert evaluate(solutions, "n=[1]") == 0
    assert figures(solutions)["problems"] == 10


def test_an_evaluation_that_broke_goes_on_to_the_same_figures(solutions, monkeypatch, capfd):
    words = [f'rewards=["{reward("Fussy")}"]', "batch=8"]
    assert evaluate(solutions, *words, folder="whole") == 0
    monkeypatch.setattr(Fussy, "broken", True)
    assert evaluate(solutions, *words) == 1
    assert "error: the machine is on fire" in capfd.readouterr().out
    monkeypatch.setattr(Fussy, "broken", False)
    monkeypatch.setattr(Fussy, "scored", 0)
    assert evaluate(solutions, *words) == 0
    assert 0 < Fussy.scored < 9
    assert figures(solutions) == figures(solutions, "whole")


def test_another_reward_can_be_added_without_scoring_the_first_again(solutions, monkeypatch):
    assert evaluate(solutions, f'rewards=["{reward("Fussy")}"]') == 0
    monkeypatch.setattr(Fussy, "scored", 0)
    assert evaluate(solutions, f'rewards=["{reward("Fussy")}","{reward("Longest")}"]') == 0
    assert Fussy.scored == 0
    assert {"fussy", "longest"} <= set(figures(solutions)["accuracy"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rewards=[omr]"], "did you mean orm"),
        (['rewards=["verifier timeout=3"]'], "did you mean reward.timeout_s"),
        (["rewards=[verifier,verifier]"], "rewards: verifier stands there twice"),
        (["rewards=[armorm]", "+x=1"], "x is no such key"),
        (["kind=best_of_m"], "did you mean best_of_n"),
        (["n=[0]"], "n must be sizes of at least 1"),
        (["level=2"], "level must lie in (0, 1)"),
        (["threshold=7"], "threshold must lie in (0, 1], not 7"),
        (["n=[8]"], "has that many responses, the most is 4; give smaller sizes as n=[1,4]"),
        (["kind=process_bench"], "rewards is empty: name what is to score the steps"),
        (["kind=process_bench", "rewards=[prm]"], "can be used for kind=process_bench: line 1: there is no problem"),
        (["kind=reward_bench"], "rewards is empty: name what is to score the pairs"),
        (["kind=reward_bench", "rewards=[verifier]"], "can be used for kind=reward_bench: line 1: there is no subset"),
        (["input=null", "n=[2,8]", "rollout.responses=4"], "n=8: only rollout.responses=4 are drawn to each problem"),
        (["input=nowhere.jsonl"], "input nowhere.jsonl: there is no such file"),
        (["input=null", "kind=process_bench"], "kind=process_bench needs input=FILE"),
        (["rewards=verifier"], "rewards: expected"),
        (["-m", "seed=1,2"], "a sweep cannot write one folder"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line_before_anything_starts(solutions, capfd, words, message):
    assert evaluate(solutions, *words) == 2
    errors = capfd.readouterr().err.strip()
    assert errors.startswith("error: ")
    assert message in errors
    assert "\n" not in errors
    assert not (solutions.parent / "found").exists()


def test_a_folder_of_another_evaluation_is_left_alone(solutions, capfd):
    assert evaluate(solutions) == 0
    solutions.write_text(solutions.read_text() * 2)
    assert evaluate(solutions) == 2
    assert "holds another evaluation" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("content", "words", "message"),
    [
        ({"alpacaeval-easy": 97}, (), "subset alpacaeval-easy: an accuracy lies in [0, 1], not 97"),
        ({"alpacaeval-easy": 0.97}, ("rewards=[verifier]",), "holds accuracies, no pairs that a reward could score"),
    ],
)
def test_an_input_that_was_refused_can_be_mended_in_the_same_folder(tmp_path, capfd, content, words, message):
    file = tmp_path / "accuracies.json"
    file.write_text(json.dumps(content))
    assert evaluate(file, "kind=reward_bench", *words) == 2
    assert message in capfd.readouterr().err
    file.write_text(json.dumps({"alpacaeval-easy": 0.97}))
    assert evaluate(file, "kind=reward_bench") == 0


def test_sizes_may_stand_in_any_order(solutions, capfd):
    assert evaluate(solutions, "n=[4,1,4]") == 0
    assert figures(solutions)["sizes"] == [1, 4]
    said = capfd.readouterr().out
    assert "| method | n = 1 | n = 4 |" in said
    assert "Gain in percentage points at n = 4" in said


def test_labels_of_one_class_are_warned_of_without_a_reward(tmp_path, capfd):
    file = tmp_path / "solutions.jsonl"
    file.write_text(json.dumps({"prompt": "?", "answers": ["A: 1", "A: 2"], "label": [0, 0]}) + "\n")
    assert evaluate(file) == 0
    assert "WARNING: there is no right response among these" in capfd.readouterr().out


def test_rows_that_would_break_the_libraries_cost_only_themselves(solutions, capfd):
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


def test_every_file_that_was_written_is_named(solutions, capfd):
    assert evaluate(solutions) == 0
    last = capfd.readouterr().out.splitlines()[-1]
    assert "accuracy.png" in last
    assert "rejects.jsonl" not in last and "disagreements.jsonl" not in last
    rows = solutions.read_text().splitlines()
    doubtful = json.dumps(json.loads(rows[0]) | {"label": [0, 0, 0, 1]})
    solutions.write_text("\n".join(["{broken", doubtful, *rows[1:]]) + "\n")
    assert evaluate(solutions, folder="other") == 0
    last = capfd.readouterr().out.splitlines()[-1]
    assert all(name in last for name in ("report.md", "accuracy.png", "rejects.jsonl", "disagreements.jsonl"))


@pytest.fixture
def stepped(tmp_path) -> Path:
    file = tmp_path / "steps.json"
    labels = [0, 1, 1, 2, -1, -1, -1, -1]
    rows = [
        {"problem": f"{n}?", "steps": [f"{n}.{k}\nof\nit" for k in range(4)], "label": label}
        for n, label in enumerate(labels)
    ]
    file.write_text(json.dumps(rows))
    return file


def test_a_constant_scorer_gets_from_process_bench_what_arithmetic_says(stepped):
    words = [f'rewards=["{reward("Steps")}"]', "kind=process_bench"]
    assert evaluate(stepped, *words) == 0
    one = figures(stepped)["process_bench"]["steps"]
    assert [one[name]["value"] for name in ("error", "correct", "f1")] == [0.0, 1.0, 0.0]
    assert figures(stepped)["calibration"]["steps: step right"]["count"] == 1 + 2 + 2 + 3 + 16


def test_a_random_scorer_gets_from_process_bench_what_arithmetic_says(stepped):
    rows = json.loads(stepped.read_text())
    stepped.write_text(
        json.dumps([row | {"steps": [f"{i} {s}" for s in row["steps"]]} for row in rows for i in range(250)])
    )
    words = [f'rewards=["{reward("RandomSteps")}"]', "kind=process_bench", "threshold=0.2"]
    assert evaluate(stepped, *words) == 0
    one = figures(stepped)["process_bench"]["randomsteps"]
    assert one["error"]["value"] == pytest.approx((0.2 + 2 * 0.2 * 0.8 + 0.2 * 0.8**2) / 4, abs=0.04)
    assert one["correct"]["value"] == pytest.approx(0.8**4, abs=0.05)


def test_a_process_model_scores_exactly_the_given_steps(stepped):
    """The shipped model's own steps are lines, but the given ones hold several."""
    assert evaluate(stepped, "rewards=[prm]", "kind=process_bench") == 0
    scores = [json.loads(line) for line in (stepped.parent / "found" / "scores" / "prm.jsonl").read_text().splitlines()]
    assert [len(row["scores"][0]["steps"]) for row in scores] == [4] * 8
    assert figures(stepped)["process_bench"]["prm"]["unscored"] == 0


def test_a_reward_without_steps_is_told_that_it_needs_them(stepped, capfd):
    assert evaluate(stepped, "rewards=[verifier]", "kind=process_bench") == 0
    said = capfd.readouterr().out
    assert "WARNING, verifier: no step scores: a process reward is needed here" in said
    assert "| verifier | - | - | - | - | - | 8 |" in said


def test_a_class_missing_from_the_labels_is_named(stepped, capfd):
    rows = [row for row in json.loads(stepped.read_text()) if row["label"] >= 0]
    stepped.write_text(json.dumps(rows))
    assert evaluate(stepped, f'rewards=["{reward("Steps")}"]', "kind=process_bench") == 0
    assert "WARNING: there is no right solution in this file" in capfd.readouterr().out
    assert figures(stepped)["process_bench"]["steps"]["f1"]["value"] is None


def test_pairs_are_won_by_the_higher_score_and_never_by_a_tie(tmp_path, capfd):
    file = tmp_path / "pairs.jsonl"
    pairs = [("longer", "short"), ("a", "bb"), ("same", "size"), ("I refuse", "x")]
    rows = [{"prompt": "?", "chosen": a, "rejected": b, "subset": "math-prm"} for a, b in pairs]
    file.write_text("".join(json.dumps(row) + "\n" for row in [*rows, rows[0] | {"subset": "made-up"}]))
    assert evaluate(file, f'rewards=["{reward("Longest")}"]', "kind=reward_bench") == 0
    found = figures(file)["reward_bench"]["longest"]
    assert found["subsets"] == {"math-prm": 0.25, "made-up": 1.0}
    assert found["today"]["overall"] is None
    said = capfd.readouterr().out
    assert "1 ties and 1 pairs with a failed score, none of them a win" in said
    assert "WARNING: subsets that belong to no section: made-up" in said


def test_accuracies_by_subset_become_sections_in_both_countings(tmp_path):
    from tests.rewards.evaluation.test_reward_bench import ARMORM

    file = tmp_path / "armorm.json"
    file.write_text(json.dumps(ARMORM))
    assert evaluate(file, "kind=reward_bench") == 0
    found = figures(file)["reward_bench"]["armorm"]
    assert round(found["exchanged"]["overall"], 3) == 0.890
    assert round(found["today"]["overall"], 3) == 0.886


def test_a_reward_that_chooses_worse_among_more_responses_is_warned_of(tmp_path, capfd):
    """Right responses are longer than most wrong ones; one wrong response in eight is the longest of all."""
    file = tmp_path / "solutions.jsonl"
    answers = ["The answer is: 1"] * 4 + ["is: 2", "is: 3", "is: 4", "By far the longest story: the answer is: 5"]
    row = {"prompt": "?", "answers": answers, "label": [1, 1, 1, 1, 0, 0, 0, 0]}
    file.write_text((json.dumps(row) + "\n") * 5)
    assert evaluate(file, f'rewards=["{reward("Longest")}"]') == 0
    said = capfd.readouterr().out
    # Of the 28 pairs 7 hold the longest story, and 3 of the other 21 hold no right response: 18/28.
    assert "WARNING, longest: 64.3% right at n = 2 falls to 0.0% at n = 8" in said
    assert "WARNING, Pass@n" not in said


def test_scores_of_other_responses_are_never_taken_for_these(solutions, capfd):
    """A problem with one response, in the middle, is part of the evaluation at n=1 only."""
    rows = solutions.read_text().splitlines()
    short = json.dumps({"prompt": "?", "answers": ["The answer is: 4"], "label": [1]})
    solutions.write_text("\n".join([*rows[:4], short, *rows[4:]]) + "\n")
    assert evaluate(solutions, f'rewards=["{reward("Longest")}"]') == 0
    assert evaluate(solutions, f'rewards=["{reward("Longest")}"]', "n=[1]") == 1
    assert "longest.jsonl holds scores of other responses (row 5): delete it" in capfd.readouterr().out
