"""LoRA: what is trained, what the sampler gets, and what the reference is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from rewards.builder import ConfigurationError, build
from rl.learner.losses import PolicyLossSettings
from rl.settings import LoraSettings
from rl.types import TrainBatch
from tests.rl.learner import reference
from tests.rl.learner.rig import SEVERAL, Ranks, Stage, settings_for
from tests.tiny import make_llama, make_tokenizer

LORA = LoraSettings(rank=4, alpha=8, target_modules=("q_proj", "down_proj"))


def adapted(folder: Path, settings: LoraSettings = LORA) -> tuple[nn.Module, nn.Module]:
    """The bare model, and it with adapters that have learnt something."""
    from rl.learner.adapters import TRAINED, adapter_parameters, attach

    model = attach(reference.load(folder), settings, seed=0, with_reference=True)
    generator = torch.Generator().manual_seed(1)
    for value in adapter_parameters(model, TRAINED).values():
        value.data = torch.randn(value.shape, generator=generator) * 0.1
    return reference.load(folder).eval(), model.eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("adapters"), make_tokenizer())


def test_merged_weights_compute_what_the_adapted_model_does_and_leave_it_unchanged(folder: Path) -> None:
    from rl.learner.full_weights import full_weights

    bare, model = adapted(folder)
    before = {name: value.clone() for name, value in model.named_parameters()}
    weights = {name: value for named in full_weights(model, 50_000) for name, value in named}
    assert weights.keys() == dict(bare.named_parameters()).keys()
    assert all(torch.equal(value, before[name]) for name, value in model.named_parameters())
    tokens = torch.arange(10, 30)[None]
    with torch.no_grad():
        plain = bare(tokens).logits
        bare.load_state_dict(weights)
        assert torch.allclose(bare(tokens).logits, model(tokens).logits, atol=1e-4)
        assert float((bare(tokens).logits - plain).abs().max()) > 0.1


def test_the_reference_is_the_base_model_and_only_inside_the_context(folder: Path) -> None:
    from rl.learner.adapters import as_reference

    bare, model = adapted(folder)
    learning = {name for name, value in model.named_parameters() if value.requires_grad}
    tokens = torch.arange(10, 30)[None]
    with torch.no_grad():
        learnt = model(tokens).logits
        with as_reference(model):
            assert torch.equal(model(tokens).logits, bare(tokens).logits)
        assert torch.equal(model(tokens).logits, learnt)
    assert {name for name, value in model.named_parameters() if value.requires_grad} == learning
    assert all(".default." in name for name in learning)


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        (("no_such_layer",), "Target modules .* not found"),
        (("embed_tokens",), "embed_tokens is not a linear layer"),
        (("lm_head",), "lm_head shares its weight with the embedding"),
    ],
)
def test_layers_that_cannot_be_adapted_are_refused_by_name(
    tmp_path: Path, modules: tuple[str, ...], message: str
) -> None:
    tied = make_llama(tmp_path, make_tokenizer(), tied=True)
    with pytest.raises(ValueError, match=rf"learner\.lora\.target_modules.*{message}"):
        adapted(tied, replace(LORA, target_modules=modules))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"rank": 0}, "rank must be at least 1, not 0"),
        ({"alpha": 0}, "alpha must be at least 1, not 0"),
        ({"dropout": 1.0}, "dropout must be in"),
        ({"target_modules": ""}, "target_modules names no layer"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(keys: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        LoraSettings(**keys)  # type: ignore[arg-type]
    lora = {"_target_": "rl.settings.LoraSettings", **keys}
    with pytest.raises(ConfigurationError, match=rf"^learner\.lora\.{message}"):
        build({"_target_": "rl.settings.LearnerSettings", "lora": lora}, "learner")


def with_adapters(seed: int) -> Callable[[nn.Module], nn.Module]:
    from rl.learner.adapters import attach

    return lambda model: attach(model, LORA, seed, with_reference=False)


def plainly_merged(folder: Path, trained: reference.Trained) -> dict[str, Tensor]:
    """peft's own merge of what plain torch has trained."""
    model = with_adapters(0)(reference.load(folder))
    model.load_state_dict(trained.weights, strict=False)
    return dict(model.merge_and_unload().named_parameters())  # type: ignore[operator]


@pytest.mark.e2e
@pytest.mark.parametrize(("count", "stage"), [(1, 0), (2, 2), (2, 3)])
def test_adapter_steps_equal_plain_torch(ranks: dict[int, Ranks], batch: TrainBatch, count: int, stage: Stage) -> None:
    group, loss = ranks[count], PolicyLossSettings(kl=0.1)
    settings = settings_for(count, stage, lora=LORA, learning_rate=1e-3)
    group.load(settings, loss)
    policy, frozen = group.logprobs(batch, SEVERAL)
    assert torch.equal(policy, frozen)
    ready = replace(batch, reference_logprobs=frozen)
    expected = reference.train(group.folder, ready, settings, loss, 0.7, [0, 1], with_adapters(0))
    for norm in expected.norms:
        assert group.update(ready, settings, seed=0)["grad_norm"] == pytest.approx(norm, rel=1e-4)
    merged = plainly_merged(group.folder, expected)
    weights = group.weights()
    assert weights.keys() == merged.keys()
    assert max(float((weights[name] - merged[name]).abs().max()) for name in weights) < 1e-5
    policy, again = group.logprobs(batch, SEVERAL)
    assert torch.equal(again, frozen)
    assert float((policy - frozen).abs().max()) > 1e-3
    group.all("refresh_reference")
    _, refreshed = group.logprobs(batch, SEVERAL)
    assert torch.equal(refreshed, policy)


@pytest.mark.e2e
def test_bf16_adapters_are_trained_and_reach_the_sampler(ranks: dict[int, Ranks], batch: TrainBatch) -> None:
    group, settings = ranks[2], settings_for(2, 2, lora=LORA, learning_rate=1e-2)
    group.load(settings, PolicyLossSettings(), "bf16")
    before = group.weights()
    group.update(batch, settings, seed=0)
    after = group.weights()
    assert all(value.dtype == torch.bfloat16 for value in after.values())
    moved = {name.split(".")[-2] for name in after if not torch.equal(after[name], before[name])}
    assert moved == {"q_proj", "down_proj"}
