from __future__ import annotations

import json
from pathlib import Path

import pytest

from launch.evaluate.__main__ import main
from tests.launch.evaluate.commands import HERE, evaluate, figures, reward
from tests.launch.evaluate.rewards import Fussy


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


def test_each_reward_gets_a_row_and_a_verdict_on_its_trust(solutions, capfd):
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
    assert "judge: 2.0 judgements per tournament of 4" in capfd.readouterr().out
    assert figures(file)["trust"]["judge"]["report"]["best"] == 1.0


def test_labels_that_contradict_the_verifier_are_listed(solutions, capfd):
    rows = solutions.read_text().splitlines()
    doubtful = json.loads(rows[2]) | {"label": [1, 1, 0, 0]}
    solutions.write_text("\n".join([*rows[:2], json.dumps(doubtful), *rows[3:]]) + "\n")
    assert evaluate(solutions) == 0
    assert "agrees with 35 of 36 labels (97.22%), the others are in disagreements.jsonl" in capfd.readouterr().out
    [one] = (solutions.parent / "found" / "disagreements.jsonl").read_text().splitlines()
    assert json.loads(one) == {"line": 3, "place": 1, "label": 1, "verifier": 0, "announced": "0", "reference": "3"}


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


def test_an_interrupted_evaluation_resumes_and_gives_the_same_figures(solutions, monkeypatch, capfd):
    words = [f'rewards=["{reward("Fussy")}"]', "batch=8", "attack_problems=1"]
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


def test_sizes_may_be_in_any_order(solutions, capfd):
    assert evaluate(solutions, "n=[4,1,4]") == 0
    assert figures(solutions)["sizes"] == [1, 4]
    said = capfd.readouterr().out
    assert "| method | n = 1 | n = 4 |" in said
    assert "Gain in percentage points at n = 4" in said


def test_all_written_files_are_listed(solutions, capfd):
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


def test_a_reward_that_gets_worse_with_more_responses_gives_a_warning(tmp_path, capfd):
    """Right responses are longer than most wrong ones; one wrong response in eight is the longest of all."""
    file = tmp_path / "solutions.jsonl"
    answers = ["The answer is: 1"] * 4 + ["is: 2", "is: 3", "is: 4", "By far the longest story: the answer is: 5"]
    row = {"prompt": "?", "answers": answers, "label": [1, 1, 1, 1, 0, 0, 0, 0]}
    file.write_text((json.dumps(row) + "\n") * 5)
    assert evaluate(file, f'rewards=["{reward("Longest")}"]') == 0
    said = capfd.readouterr().out
    # Of the 28 pairs 7 hold the longest story, and 3 of the other 21 hold no right response: 18/28.
    assert "WARNING, longest: 64.3% correct at n = 2 falls to 0.0% at n = 8" in said
    assert "WARNING, Pass@n" not in said


def test_scores_of_other_responses_are_never_reused(solutions, capfd):
    """A problem with one response, in the middle, is part of the evaluation at n=1 only."""
    rows = solutions.read_text().splitlines()
    short = json.dumps({"prompt": "?", "answers": ["The answer is: 4"], "label": [1]})
    solutions.write_text("\n".join([*rows[:4], short, *rows[4:]]) + "\n")
    assert evaluate(solutions, f'rewards=["{reward("Longest")}"]') == 0
    assert evaluate(solutions, f'rewards=["{reward("Longest")}"]', "n=[1]") == 1
    assert "is not what was scored as row 5 of output" in capfd.readouterr().out


@pytest.mark.e2e
def test_one_command_samples_scores_and_reports_trust(tmp_path, capfd):
    folder = tmp_path / "found"
    words = [f"folder={folder}", "problems=8", "rollout.responses=4", "rollout.problems=8", "rewards=[prm]"]
    assert main(words) == 0
    found = json.loads((folder / "report.json").read_text())
    assert found["problems"] == 8
    assert found["sizes"] == [1, 2, 4]
    assert "trust, prm (min): AUC" in capfd.readouterr().out
    assert found["calibration"]["prm: step right"]["count"] > 50


def test_a_reward_is_tried_with_texts_that_say_nothing_in_as_many_problems_as_asked_for_each_time(solutions, capfd):
    for count in (2, 3, 1):
        assert evaluate(solutions, f'rewards=["truth: verifier","{reward("Steps")}"]', f"attack_problems={count}") == 0
        attacks = figures(solutions)["attacks"]
        assert {one["tried"] for tried in attacks.values() for one in tried} == {count}
    assert not any(one["fools"] for one in attacks["truth"])
    assert "WARNING, steps: fooled by responses that say nothing: '.' (score 1.000" in capfd.readouterr().out
