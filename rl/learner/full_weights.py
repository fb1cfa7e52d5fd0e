"""The complete weights of a model, under their Hugging Face names. It may be partitioned (ZeRO-3) or adapted (LoRA).

The sampler, saved folders and the moving average all read the weights this way, in bounded memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import AutoTokenizer

from rl.learner.adapters import base_parameters, layers_by_weight, merged
from rl.learner.trained_model import elements, gathered
from rl.weights import BUCKET_BYTES, split

Named = list[tuple[str, Tensor]]


@dataclass(frozen=True)
class _Piece:
    """One weight: its bytes, the parameters to gather for it, and a function that then computes it."""

    size: int
    parameters: list[nn.Parameter]
    value: Callable[[], Tensor]


def full_weights(module: nn.Module, bucket_bytes: int = BUCKET_BYTES) -> Iterator[Named]:
    """Yield the weights with their names, at most `bucket_bytes` at a time, with adapters merged into them.

    Collective under ZeRO-3. The tensors may be the model's own: read them before requesting the next ones.
    """
    pieces = _pieces(module)
    for names in split([(name, piece.size) for name, piece in pieces.items()], bucket_bytes):
        with gathered([value for name in names for value in pieces[name].parameters]):
            yield [(name, pieces[name].value()) for name in names]


def write_model(module: nn.Module, weights: dict[str, Tensor], source: str, folder: Path) -> None:
    """Write these weights as a Hugging Face folder: safetensors, configuration, and the tokenizer from `source`."""
    base: Any = module.get_base_model() if isinstance(module, PeftModel) else module
    kept = {name: value for name, value in _buffers(base)}
    base.save_pretrained(folder, state_dict=weights | kept)
    AutoTokenizer.from_pretrained(source).save_pretrained(folder)


class MovingAverage:
    """An average of a model's weights, in fp32 on the CPU of rank 0: decay * average + (1 - decay) * weights."""

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.values: dict[str, Tensor] = {}

    def add(self, named: Named) -> None:
        """Update the average with some current weights. A weight seen for the first time starts its average."""
        for name, value in named:
            new = value.detach().to("cpu", torch.float32)
            if name in self.values:
                self.values[name].lerp_(new, 1 - self.decay)
            else:
                self.values[name] = new.clone()


def _pieces(module: nn.Module) -> dict[str, _Piece]:
    if not isinstance(module, PeftModel):
        return {name: _plain(value) for name, value in module.named_parameters()}
    pieces = {name: _plain(value) for name, value in base_parameters(module).items()}
    for name, layer in layers_by_weight(module).items():
        parameters = [layer.get_base_layer().weight, *(part["default"].weight for part in (layer.lora_A, layer.lora_B))]
        pieces[name] = _Piece(pieces[name].size, parameters, partial(merged, layer))
    return pieces


def _plain(parameter: nn.Parameter) -> _Piece:
    return _Piece(elements(parameter) * parameter.element_size(), [parameter], parameter.detach)


def _buffers(base: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The buffers that belong in a saved model."""
    for prefix, module in base.named_modules():
        for name, value in module.named_buffers(recurse=False):
            if name not in module._non_persistent_buffers_set:
                yield f"{prefix}.{name}".lstrip("."), value
