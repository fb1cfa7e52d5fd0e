"""InternLM2 checkpoints in every file layout are read alike; damaged ones are refused by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from rewards.engines.internlm2 import llama_config
from rewards.scalar import ScalarReward
from rewards.types import Group, Problem, Response
from tests.rewards.internlm2_tiny import make_internlm2

OPTIONS = {"head": ["v_head"], "end_token": "reward_token_id"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    return make_internlm2(tmp_path_factory.mktemp("internlm2"))


@pytest.fixture
def copy(folder, tmp_path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def value(folder: Path) -> float:
    [[score]] = ScalarReward(str(folder), **OPTIONS).score([Group(Problem("p", "1 + 2?"), (Response("3"),))])
    return score.value


def test_pickled_and_divided_checkpoints_give_the_same_scores(folder, copy):
    tensors = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    torch.save(tensors, copy / "pytorch_model.bin")
    assert value(copy) == value(folder)
    (copy / "pytorch_model.bin").unlink()
    names = sorted(tensors)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, inside in parts.items():
        save_file({name: tensors[name] for name in inside}, copy / file, metadata={"format": "pt"})
    index = {"weight_map": {name: file for file, inside in parts.items() for name in inside}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    assert value(copy) == value(folder)


def test_weights_that_arrive_after_the_checks_are_read(folder, copy, tmp_path):
    (copy / "model.safetensors").rename(tmp_path / "later.safetensors")
    reward = ScalarReward(str(copy), **OPTIONS)
    (tmp_path / "later.safetensors").rename(copy / "model.safetensors")
    [[score]] = reward.score([Group(Problem("p", "1 + 2?"), (Response("3"),))])
    assert score.value == value(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("model.layers.0.attention.wo.weight"), "lacks 1 tensors"),
        (
            lambda tensors: tensors.update({"model.layers.0.attention.wqkv.weight": torch.zeros(8, 128)}),
            r"wqkv\.weight has 8 rows instead of 256",
        ),
        (
            lambda tensors: tensors.update({"v_head.weight": torch.zeros(2, 128)}),
            r"v_head\.weight has the shape \(2, 128\)",
        ),
    ],
)
def test_missing_tensors_and_wrong_shapes_are_refused(copy, change, message):
    tensors = load_file(copy / "model.safetensors")
    change(tensors)
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=message):
        value(copy)


@pytest.mark.parametrize("token", [None, 10**6, "x"])
def test_a_config_without_a_usable_reward_token_is_refused(copy, token):
    config = json.loads((copy / "config.json").read_text()) | {"reward_token_id": token}
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"end_token: its config.json has no reward_token_id in its vocabulary"):
        ScalarReward(str(copy), **OPTIONS)


def test_a_config_that_lacks_a_size_is_refused():
    with pytest.raises(ValueError, match="an InternLM2 model needs hidden_size"):
        llama_config({"vocab_size": 8})
