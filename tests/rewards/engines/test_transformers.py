from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from rewards.engines.transformers import TransformersEngine, read_config
from tests.tiny import make_llama, make_tokenizer

SEQUENCES = [[1, 5, 9, 12, 30], [1, 40], [1, 7, 7, 60, 61, 62, 63, 64]]
POSITIONS = [[1, 4], [1], [0, 3, 7]]


@pytest.fixture
def broken(tmp_path) -> Path:
    return make_llama(tmp_path, make_tokenizer())


def rewrite_config(folder: Path, **changes) -> str:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return str(folder)


def test_hidden_states_are_those_of_each_sequence_alone(llama31):
    engine = TransformersEngine(llama31, batch_tokens=12)
    decoder = engine.load().base_model
    found = engine.hidden_states_at(SEQUENCES, POSITIONS)
    for ids, places, states in zip(SEQUENCES, POSITIONS, found, strict=True):
        with torch.no_grad():
            alone = decoder(torch.tensor([ids])).last_hidden_state[0, places]
        torch.testing.assert_close(states, alone, atol=1e-5, rtol=1e-5)


def test_bf16_scores_are_near_those_of_fp32(llama31):
    exact = TransformersEngine(llama31).label_probabilities(SEQUENCES, POSITIONS, (16, 18))
    rough = TransformersEngine(llama31, dtype="bf16").label_probabilities(SEQUENCES, POSITIONS, (16, 18))
    for one, other in zip(exact, rough, strict=True):
        assert one == pytest.approx(other, abs=0.1)


def test_nothing_to_score_needs_no_forward(llama31):
    assert TransformersEngine(llama31).label_probabilities([], [], (16, 18)) == []


def test_logits_over_the_whole_vocabulary_are_never_made(tmp_path):
    """With a 128k vocabulary the largest tensor of a forward is far below tokens x vocabulary."""
    folder = make_llama(tmp_path, make_tokenizer(), vocab=128_256, hidden=8, layers=1)
    engine = TransformersEngine(str(folder))
    engine.load()
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
        engine.label_probabilities([[1] * 64] * 4, [[63]] * 4, (16, 18))
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
        TransformersEngine(rewrite_config(broken, **changes))


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(ValueError, match="there is no such folder"):
        read_config(str(tmp_path / "nowhere"))


def test_a_folder_without_config_is_refused(broken):
    (broken / "config.json").unlink()
    with pytest.raises(ValueError, match=r"there is no config\.json"):
        read_config(str(broken))


def test_a_config_that_cannot_be_read_is_refused(broken):
    (broken / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"cannot read its config\.json"):
        read_config(str(broken))


def test_the_folder_above_a_model_is_answered_with_where_the_model_lies(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=f"a model lies in {tmp_path}/model$"):
        read_config(str(tmp_path))


def test_missing_tensors_are_named(broken):
    file = broken / "model.safetensors"
    tensors = load_file(file)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks 1 tensors .*model.layers.1.mlp.up_proj.weight"):
        TransformersEngine(str(broken)).load()


def test_tensors_of_another_shape_are_refused(broken):
    file = broken / "model.safetensors"
    tensors = load_file(file)
    tensors["lm_head.weight"] = torch.zeros(7, 64)
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"1 tensors of another shape .*lm_head\.weight"):
        TransformersEngine(str(broken)).load()


def test_a_folder_without_weights_is_refused(broken):
    (broken / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="cannot read its weights"):
        TransformersEngine(str(broken)).load()


def test_a_truncated_weights_file_is_refused(broken):
    file = broken / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ValueError, match="cannot read its weights"):
        TransformersEngine(str(broken)).load()


def test_a_model_that_bends_its_logits_is_refused(broken):
    with pytest.raises(ValueError, match="transforms its logits"):
        TransformersEngine(rewrite_config(broken, final_logit_softcapping=30.0))
