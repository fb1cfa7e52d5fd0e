"""LoRA through peft: low-rank adapters on the policy's frozen linear layers (arXiv:2106.09685).

Each adapted layer has two adapters: the one that is trained, and the reference's, which is not. The second matrix of a
new adapter is zero, so the reference equals the base model until it is refreshed. This needs no second copy of the
model.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from peft.tuners.lora import Linear, LoraLayer
from torch import Tensor, nn

from rl.settings import LoraSettings, require

TRAINED, REFERENCE = "default", "reference"


def attach(model: nn.Module, settings: LoraSettings, seed: int, *, with_reference: bool) -> PeftModel:
    """The model with new adapters and everything else frozen. `seed` initialises them identically on all ranks.

    Raises ValueError if `target_modules` matches no layer, or matches one whose adapter cannot be merged.
    """
    chosen = settings.target_modules
    config = LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=chosen if isinstance(chosen, str) else list(chosen),
        bias="none",
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        try:
            # Adapters keep the model's dtype: DeepSpeed holds the fp32 copy of what is trained.
            adapted = get_peft_model(model, config, autocast_adapter_dtype=False)
        except ValueError as error:
            raise ValueError(f"learner.lora.target_modules: {str(error).splitlines()[0]}") from error
    if with_reference:
        adapted.add_adapter(REFERENCE, config, autocast_adapter_dtype=False)
        adapted.set_adapter(TRAINED)
    _check_layers(adapted)
    return adapted


@contextmanager
def as_reference(model: PeftModel) -> Iterator[None]:
    """In this context, the model computes what the frozen reference does."""
    model.set_adapter(REFERENCE)
    try:
        yield
    finally:
        model.set_adapter(TRAINED)


def adapter_parameters(model: nn.Module, adapter: str) -> dict[str, nn.Parameter]:
    """The parameters of one adapter, under names that are the same for both adapters."""
    mark = f".{adapter}."
    return {
        name.replace(mark, "."): value
        for name, value in model.named_parameters()
        if mark in name and _belongs_to_adapter(name)
    }


def layers_by_weight(model: PeftModel) -> dict[str, LoraLayer]:
    """The adapted layers, by the name of their weight in the base model."""
    named = model.get_base_model().named_modules()
    return {f"{name}.weight": layer for name, layer in named if isinstance(layer, LoraLayer)}


def base_parameters(model: PeftModel) -> dict[str, nn.Parameter]:
    """The frozen parameters, by their names in the base model."""
    return {
        name.replace(".base_layer.", "."): value
        for name, value in model.get_base_model().named_parameters()
        if not _belongs_to_adapter(name)
    }


def merged(layer: LoraLayer) -> Tensor:
    """The layer's weight plus its trained adapter, in the weight's dtype. The layer itself is not changed.

    In bf16, peft's own `get_delta_weight` replaces the adapters' tensors, which breaks DeepSpeed.
    """
    weight = layer.get_base_layer().weight
    first, second = layer.lora_A[TRAINED].weight, layer.lora_B[TRAINED].weight
    with torch.no_grad():
        change = layer.scaling[TRAINED] * (second.float() @ first.float())
        return (weight.float() + (change.T if layer.fan_in_fan_out else change)).to(weight.dtype)


def _belongs_to_adapter(name: str) -> bool:
    return any(part in LoraLayer.adapter_layer_names for part in name.split("."))


def _check_layers(model: PeftModel) -> None:
    """Raise ValueError if an adapted layer is not linear, or shares its weight with the embedding: see `merged`."""
    base = model.get_base_model()
    tied = getattr(base.config, "tie_word_embeddings", False)
    for name, layer in base.named_modules():
        if isinstance(layer, LoraLayer):
            require(
                isinstance(layer, Linear),
                f"learner.lora.target_modules: {name} is not a linear layer ({type(layer.get_base_layer()).__name__})",
            )
            require(
                not (tied and layer is base.get_output_embeddings()),
                f"learner.lora.target_modules: {name} shares its weight with the embedding: leave it out",
            )
