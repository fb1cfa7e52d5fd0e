from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.launch.evaluate.commands import evaluate, figures, reward


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


def test_a_constant_scorer_gets_the_expected_figures_on_process_bench(stepped):
    words = [f'rewards=["{reward("Steps")}"]', "kind=process_bench"]
    assert evaluate(stepped, *words) == 0
    one = figures(stepped)["process_bench"]["steps"]
    assert [one[name]["value"] for name in ("error", "correct", "f1")] == [0.0, 1.0, 0.0]
    assert figures(stepped)["calibration"]["steps: step right"]["count"] == 1 + 2 + 2 + 3 + 16


def test_a_random_scorer_gets_the_expected_figures_on_process_bench(stepped):
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


def test_a_reward_without_step_scores_is_refused(stepped, capfd):
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
    assert "1 ties and 1 pairs with a failed score, which count as not won" in said
    assert "WARNING: subsets that belong to no section: made-up" in said


def test_accuracies_by_subset_become_sections_under_both_conventions(tmp_path):
    from tests.rewards.evaluation.test_reward_bench import ARMORM

    file = tmp_path / "armorm.json"
    file.write_text(json.dumps(ARMORM))
    assert evaluate(file, "kind=reward_bench") == 0
    found = figures(file)["reward_bench"]["armorm"]
    assert round(found["exchanged"]["overall"], 3) == 0.890
    assert round(found["today"]["overall"], 3) == 0.886
