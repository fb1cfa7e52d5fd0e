"""LoRA through peft: adapters beside the policy's frozen linear layers (arXiv:2106.09685).

Two adapters lie on every layer: the trained one, and the reference's, which never learns. A new adapter's second matrix
is zero, so the reference's is the bare model until the reference is refreshed; no second copy of the model is needed.
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
    """The model with new adapters, all else frozen; `seed` draws them, equal on all ranks.

    Raises ValueError where `target_modules` names no layer, or one that cannot be merged.
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
    """Within it the model answers as the frozen reference."""
    model.set_adapter(REFERENCE)
    try:
        yield
    finally:
        model.set_adapter(TRAINED)


def adapter_parameters(model: nn.Module, adapter: str) -> dict[str, nn.Parameter]:
    """The parameters of one adapter, by names that are the same for every adapter."""
    mark = f".{adapter}."
    return {
        name.replace(mark, "."): value
        for name, value in model.named_parameters()
        if mark in name and _belongs_to_adapter(name)
    }


def layers_by_weight(model: PeftModel) -> dict[str, LoraLayer]:
    """The adapted layers by the name of their weight in the bare model."""
    named = model.get_base_model().named_modules()
    return {f"{name}.weight": layer for name, layer in named if isinstance(layer, LoraLayer)}


def bare_parameters(model: PeftModel) -> dict[str, nn.Parameter]:
    """The frozen parameters by their names in the bare model."""
    return {
        name.replace(".base_layer.", "."): value
        for name, value in model.get_base_model().named_parameters()
        if not _belongs_to_adapter(name)
    }


def merged(layer: LoraLayer) -> Tensor:
    """The layer's weight with its trained adapter added, in the weight's dtype; nothing is written to the layer.

    peft's own `get_delta_weight` replaces the adapters' tensors in bf16, which DeepSpeed would not survive.
    """
    weight = layer.get_base_layer().weight
    first, second = layer.lora_A[TRAINED].weight, layer.lora_B[TRAINED].weight
    with torch.no_grad():
        change = layer.scaling[TRAINED] * (second.float() @ first.float())
        return (weight.float() + (change.T if layer.fan_in_fan_out else change)).to(weight.dtype)


def _belongs_to_adapter(name: str) -> bool:
    return any(part in LoraLayer.adapter_layer_names for part in name.split("."))


def _check_layers(model: PeftModel) -> None:
    """Only linear layers can be merged, and not one that shares its weight with the embedding."""
    base = model.get_base_model()
    tied = getattr(base.config, "tie_word_embeddings", False)
    for name, layer in base.named_modules():
        if isinstance(layer, LoraLayer):
            require(
                isinstance(layer, Linear),
                f"learner.lora.target_modules: {name} is no linear layer ({type(layer.get_base_layer()).__name__})",
            )
            require(
                not (tied and layer is base.get_output_embeddings()),
                f"learner.lora.target_modules: {name} shares its weight with the embedding: leave it out",
            )
