"""The runner on transformers: each sequence's own numbers, whatever the batch; checkpoints that are refused."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, GPTNeoXConfig, GPTNeoXForCausalLM, PhiConfig, PhiForCausalLM

from rewards.engines.checkpoint import Checkpoint
from rewards.engines.choice import make_runner
from rewards.engines.heads import LabelHead
from rewards.engines.options import ModelOptions
from rewards.engines.transformers import TransformersRunner
from tests.tiny import make_llama, make_tokenizer

SEQUENCES = [[1, 5, 9, 12, 30], [1, 40], [1, 7, 7, 60, 61, 62, 63, 64]]
POSITIONS = [[1, 4], [1], [0, 3, 7]]
LABELS = (16, 18)
SMALL = {
    "vocab_size": 80,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}


class StatesHead:
    """The hidden states themselves."""

    tensors = ("lm_head.",)

    def load(self, checkpoint, options):
        return torch.Tensor.float


@pytest.fixture
def broken(tmp_path) -> Path:
    return make_llama(tmp_path, make_tokenizer())


def read(folder, head=None, sequences=SEQUENCES, positions=POSITIONS, **options) -> list[torch.Tensor]:
    checkpoint = Checkpoint(str(folder))
    runner = TransformersRunner(checkpoint, ModelOptions(device="cpu", **options))
    return runner.read(sequences, positions, head or LabelHead(checkpoint, LABELS))


def rewrite_config(folder: Path, **changes) -> str:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return str(folder)


def change_tensors(folder: Path, change) -> None:
    file = folder / "model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


def from_all_logits(folder) -> list[torch.Tensor]:
    """P(first label) at each position from one full forward per sequence."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        return [
            model(torch.tensor([ids])).logits[0][places][:, list(LABELS)].softmax(-1)[:, 0]
            for ids, places in zip(SEQUENCES, POSITIONS, strict=True)
        ]


def test_hidden_states_are_those_of_each_sequence_alone(llama31):
    runner = TransformersRunner(Checkpoint(llama31), ModelOptions(batch_tokens=12))
    decoder, _ = runner.load(head := StatesHead())
    for ids, places, states in zip(SEQUENCES, POSITIONS, runner.read(SEQUENCES, POSITIONS, head), strict=True):
        with torch.no_grad():
            alone = decoder(torch.tensor([ids])).last_hidden_state[0, places]
        torch.testing.assert_close(states, alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("tied", [False, True])
def test_label_probabilities_are_those_of_all_logits(tmp_path, tied):
    folder = make_llama(tmp_path, make_tokenizer(), tied=tied)
    for found, expected in zip(read(folder), from_all_logits(folder), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        (PhiForCausalLM, PhiConfig(**SMALL)),
        (GPTNeoXForCausalLM, GPTNeoXConfig(**SMALL)),
    ],
)
def test_a_head_with_a_bias_or_an_unusual_name_is_found(tmp_path, kind, config):
    model = kind(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(tmp_path)
    for found, expected in zip(read(tmp_path), from_all_logits(tmp_path), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_a_checkpoint_in_several_files_or_in_the_older_format_is_read_alike(tmp_path):
    whole = make_llama(tmp_path / "whole", make_tokenizer())
    expected = read(whole)
    model = AutoModelForCausalLM.from_pretrained(whole)
    model.save_pretrained(tmp_path / "shards", max_shard_size="100KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    old = tmp_path / "old"
    old.mkdir()
    torch.save(model.state_dict(), old / "pytorch_model.bin")
    model.config.save_pretrained(old)
    for folder in (tmp_path / "shards", old):
        for found, wanted in zip(read(folder), expected, strict=True):
            assert torch.equal(found, wanted)


def test_bf16_scores_are_near_those_of_fp32(llama31):
    for one, other in zip(read(llama31), read(llama31, dtype="bf16"), strict=True):
        torch.testing.assert_close(one, other, atol=0.1, rtol=0)


def test_nothing_to_score_needs_no_weights(broken):
    (broken / "model.safetensors").unlink()
    assert read(broken, sequences=[], positions=[]) == []


def test_two_heads_of_one_runner_do_not_mix(llama31):
    checkpoint = Checkpoint(llama31)
    runner = make_runner(checkpoint, ModelOptions(device="cpu"), max_tokens=100)
    one, other = LabelHead(checkpoint, LABELS), LabelHead(checkpoint, (LABELS[1], LABELS[0]))
    first, second, again = (runner.read(SEQUENCES, POSITIONS, head) for head in (one, other, one))
    for a, b, c in zip(first, second, again, strict=True):
        torch.testing.assert_close(a, 1 - b)
        assert torch.equal(a, c)


def test_logits_over_the_whole_vocabulary_are_never_made(tmp_path):
    """With a 128k vocabulary the largest tensor of a forward is far below tokens x vocabulary."""
    checkpoint = Checkpoint(str(make_llama(tmp_path, make_tokenizer(), vocab=128_256, hidden=8, layers=1)))
    runner, head = TransformersRunner(checkpoint, ModelOptions(device="cpu")), LabelHead(checkpoint, LABELS)
    runner.load(head)
    sizes = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            out = function(*args, **(kwargs or {}))
            sizes.extend(
                tensor.numel() for tensor in (out if isinstance(out, tuple | list) else [out]) if _made(tensor)
            )
            return out

    def _made(tensor):
        return isinstance(tensor, torch.Tensor) and tensor._base is None

    with Watch():
        runner.read([[1] * 64] * 4, [[63]] * 4, head)
    assert 0 < max(sizes) < 128_256


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architectures": ["LlamaForRewardModelWithGating"]}, "wrong kind: its architecture is LlamaForReward"),
        ({"architectures": None}, "wrong kind: its architecture is not named"),
    ],
)
def test_a_checkpoint_of_the_wrong_kind_is_refused_before_its_weights_are_read(broken, changes, message):
    with pytest.raises(ValueError, match=message):
        Checkpoint(rewrite_config(broken, **changes))


def test_a_folder_without_config_is_refused(broken):
    (broken / "config.json").unlink()
    with pytest.raises(ValueError, match=r"has no config\.json, so it is not a model folder"):
        Checkpoint(str(broken))


def test_a_config_that_cannot_be_read_is_refused(broken):
    (broken / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"cannot read its config\.json"):
        Checkpoint(str(broken))


def test_for_the_folder_above_a_model_the_message_says_where_the_model_is(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=f"there is a model in {tmp_path}/model$"):
        Checkpoint(str(tmp_path))


@pytest.mark.parametrize("name", ["model.layers.1.mlp.up_proj.weight", "model.norm.weight", "lm_head.weight"])
def test_a_missing_tensor_of_decoder_or_head_is_named(broken, name):
    change_tensors(broken, lambda tensors: tensors.pop(name))
    with pytest.raises(ValueError, match=f"lacks 1 tensors .*{name.removeprefix('model.')}"):
        read(broken)


@pytest.mark.parametrize("name", ["model.norm.weight", "lm_head.weight"])
def test_a_tensor_of_another_shape_is_refused(broken, name):
    change_tensors(broken, lambda tensors: tensors.update({name: torch.zeros(7)}))
    with pytest.raises(ValueError, match=f"1 tensors of another shape .*{name.removeprefix('model.')}"):
        read(broken)


def test_tensors_that_nothing_uses_are_reported_except_those_of_the_head(broken, caplog):
    change_tensors(broken, lambda tensors: tensors.update({"stray.weight": torch.zeros(7)}))
    with caplog.at_level(logging.WARNING):
        read(broken)
    assert "has 1 tensors this reward does not use (stray.weight)" in caplog.text


@pytest.mark.parametrize("fault", ["missing", "truncated", "not safetensors"])
def test_weights_that_cannot_be_read_are_refused_in_one_line(broken, fault):
    file = broken / "model.safetensors"
    whole = file.read_bytes()
    file.unlink() if fault == "missing" else file.write_bytes(whole[:1000] if fault == "truncated" else b"x" * 1000)
    with pytest.raises(ValueError, match="cannot read its weights") as error:
        read(broken)
    assert "\n" not in str(error.value)


def test_a_model_that_transforms_its_logits_is_refused(broken):
    checkpoint = Checkpoint(rewrite_config(broken, final_logit_softcapping=30.0))
    with pytest.raises(ValueError, match="transforms its logits"):
        LabelHead(checkpoint, LABELS)
