"""Sizes of models: the formula against real weights, the table against what their authors say."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path

import pytest
from safetensors import safe_open

from rl.planning.model_sizes import PUBLISHED, ModelFacts, facts_of, nodes_with_models
from tests.tiny import make_llama, make_tokenizer


def elements(folder: str | Path) -> int:
    with safe_open(Path(folder) / "model.safetensors", "pt") as weights:
        return sum(prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118


@pytest.mark.parametrize("tied", [False, True])
def test_the_formula_counts_the_weights_of_a_folder(tmp_path, tied):
    folder = make_llama(tmp_path / "model", make_tokenizer(), tied=tied)
    facts = facts_of(str(folder))
    assert facts is not None and facts.parameters == elements(folder)


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("Qwen/Qwen2.5-Math-7B", 7.62),  # the cards: 7.61, 1.54 and 3.09; Llama-3's 8.03 and Mistral's 7.24
        ("Qwen/Qwen2.5-Math-1.5B", 1.54),
        ("Qwen/Qwen2.5-3B", 3.09),
        ("RLHFlow/Llama3.1-8B-PRM-Mistral-Data", 8.03),
        ("peiyi9979/mistral-7b-sft", 7.24),
    ],
)
def test_published_models_have_their_published_size(name, billions):
    assert PUBLISHED[name].parameters / 1e9 == pytest.approx(billions, abs=0.006)


def test_the_cache_of_a_token_follows_from_the_heads():
    assert PUBLISHED["meta-llama/Llama-3.1-8B-Instruct"].kv_elements * 2 == 131_072  # bytes in bf16: 128 KiB a token


def test_adapters_are_counted_as_peft_counts_them(tmp_path):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    folder = make_llama(tmp_path / "model", make_tokenizer())
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(folder),
        LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"),
    )
    facts = facts_of(str(folder))
    assert facts is not None and facts.adapter_parameters(4) == model.get_nb_trainable_parameters()[0]


def test_an_unknown_size_stays_unknown(tmp_path):
    assert facts_of("nobody/nothing") is None
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["Mamba"], "d_model": 5}))
    assert facts_of(str(tmp_path)) is None


def test_models_are_found_anywhere_in_a_reward():
    node = {
        "_target_": "mixture",
        "terms": [{"reward": {"_target_": "a", "model": "x/a"}}, {"reward": {"judge": {"model": "x/b"}}}],
        "far": {"url": "http://somewhere", "model": "served"},
    }
    assert [key for key, _ in nodes_with_models(node, "reward")] == [
        "reward.terms[0].reward",
        "reward.terms[1].reward.judge",
    ]
    assert isinstance(PUBLISHED["THU-KEG/PairJudge-RM"], ModelFacts)
