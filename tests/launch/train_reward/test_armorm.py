"""ArmoRM by the command, on a tiny frozen decoder."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from launch.train_reward import __main__ as train_reward
from rewards.armorm import ArmoRMReward
from rewards.builder import ConfigurationError
from rewards.engines.armorm_model import load_armorm
from rewards.training import armorm_fit, armorm_train
from rewards.types import Group, Problem, Response
from rl.tasks.arithmetic.workshop.training_rows import draw_rows
from tests.launch.train_reward.test_train_reward import recipe_of, written
from tests.tiny import make_llama, make_tokenizer


@pytest.fixture
def armorm_words(tmp_path) -> list[str]:
    model = make_llama(tmp_path / "llama", make_tokenizer(), max_positions=512)
    rated = draw_rows("objectives", 60)
    for row in rated[:20]:
        row["steps-correct"] = float("nan")
    rated[30].pop("complete")
    data = written(tmp_path / "rated.jsonl", [*rated, {"messages": "no"}])
    pairs = written(tmp_path / "pairs.jsonl", [*draw_rows("pairs", 30), {"prompt": "q", "chosen": "a"}])
    heads = ["recipe.heads.schedule.steps=5", "recipe.heads.schedule.batch=16", "recipe.heads.verbosity=null"]
    lengths = ["recipe.max_tokens=512", f"recipe.model={model}"]
    return ["recipe=armorm_tiny", f"data={data}", f"pairs={pairs}", *heads, *lengths]


def test_an_armorm_is_trained_and_loaded_by_its_reward(tmp_path, armorm_words, capfd):
    out = tmp_path / "out"
    assert train_reward.main([*armorm_words, f"folder={out}"]) == 0
    reward = ArmoRMReward(str(out / "model"), device="cpu")
    [[score]] = reward.score([Group(Problem("1", "2 + 2?"), (Response("It is 4."),))])
    assert score.ok and "reward/answer-correct" in score.parts
    summary = json.loads((out / "summary.json").read_text())
    assert summary["rows"] == 90 and summary["rejected"] == 2
    assert json.loads((out / "rejects_pairs.jsonl").read_text())["line"] == 31
    assert "2 left out" in capfd.readouterr().out
    assert train_reward.main([*armorm_words, f"folder={out}"]) == 0
    assert "is already trained" in capfd.readouterr().out
    assert train_reward.main([*armorm_words, f"folder={out}", "seed=2"]) == 2
    assert "differs in seed" in capfd.readouterr().err


def test_an_armorm_interrupted_while_embedding_gets_the_same_heads(tmp_path, armorm_words, monkeypatch, capfd):
    monkeypatch.setattr(armorm_fit, "SHARD", 16)
    assert train_reward.main([*armorm_words, f"folder={tmp_path / 'whole'}"]) == 0
    embed, seen = armorm_fit.Embedder._embed, []

    def breaking(self, sequences):
        seen.append(len(sequences))
        if len(seen) == 3:
            raise RuntimeError("the power went")
        return embed(self, sequences)

    monkeypatch.setattr(armorm_fit.Embedder, "_embed", breaking)
    assert train_reward.main([*armorm_words, f"folder={tmp_path / 'broken'}"]) == 1
    assert "the power went" in capfd.readouterr().out
    assert train_reward.main([*armorm_words, f"folder={tmp_path / 'broken'}"]) == 0
    assert sum(seen[3:]) + 32 == 60 + 2 * 30  # the two shards that were whole are not made again
    first, second = (load_armorm(str(tmp_path / name / "model")).state_dict() for name in ("whole", "broken"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_other_heads_can_be_fitted_to_existing_states(tmp_path, armorm_words, monkeypatch, capfd):
    first, other = [*armorm_words, f"folder={tmp_path / 'out'}"], "recipe.heads.verbosity=verbosity"
    with monkeypatch.context() as patch:
        patch.setattr(armorm_train, "fit", lambda *_: 1 / 0)
        assert train_reward.main(first) == 1
    monkeypatch.setattr(armorm_fit.Embedder, "_embed", lambda *_: pytest.fail("embedded again"))
    assert train_reward.main([*first, other]) == 0
    assert "are reused; the heads are fitted again" in capfd.readouterr().out
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["left/complete"] <= 0.03 and "penalty/verbosity" not in summary
    assert train_reward.main(first) == 2
    assert (
        "contains a training run that differs in recipe.heads: choose another name (there, set states to"
        in capfd.readouterr().err
    )
    again = [*armorm_words, f"folder={tmp_path / 'again'}", f"states={tmp_path / 'out' / 'states'}"]
    assert train_reward.main(again) == 0


def test_a_penalty_beyond_the_published_grid_gives_a_warning_that_names_it():
    heads = armorm_fit.Heads(("merit", "order", "verbosity"), "verbosity", grid="fine")
    metrics = {"penalty/merit": 4.5, "left/merit": 0.02, "penalty/order": 0.9, "left/order": 0.03}
    [line] = armorm_train.warnings_of(heads, metrics)
    assert line.startswith("merit needs a penalty of 4.5 for verbosity") and "recipe.heads.verbosity=null" in line
    [_, line] = armorm_train.warnings_of(heads, {**metrics, "left/order": 0.4})
    assert line.startswith("order still correlates with verbosity (Spearman 0.400)") and "grid" not in line
    [line] = armorm_train.warnings_of(replace(heads, grid="published"), {"penalty/order": 1.0, "left/order": 0.4})
    assert "set recipe.heads.grid=fine or recipe.heads.verbosity=null" in line


def test_an_objective_that_hardly_any_row_has_is_refused_by_name(tmp_path, armorm_words):
    rows = draw_rows("objectives", 20)
    for row in rows[5:]:
        row["complete"] = None
    data = written(tmp_path / "few.jsonl", rows)
    recipe = recipe_of("armorm_tiny", *armorm_words[5:])
    with pytest.raises(ConfigurationError, match=r"few\.jsonl: 5 rows have objective complete"):
        armorm_train.read_armorm(recipe, Path(data), tmp_path / "pairs.jsonl")
