"""One model under DeepSpeed, with its optimizer and learning-rate schedule; and gathering of partitioned parameters."""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from rl.learner.strategy import DeviceStrategy  # isort: skip  # imports OpenRLHF in the right order

import deepspeed
import torch
from openrlhf.models import Actor
from torch import Tensor, nn

from rl.learner.losses import LossNotFinite

_TAG = "state"


class TrainedModel:
    """A model to train. Every method is collective: all ranks call it together."""

    def __init__(self, model: nn.Module, strategy: DeviceStrategy, *, learning_rate: float, steps: int) -> None:
        self.strategy = strategy
        self.model, self.optimizer, self.scheduler = strategy.prepare(
            (model, strategy.train_config(learning_rate, steps))
        )

    @property
    def deepspeed(self) -> Any:
        """DeepSpeed's own engine."""
        return self.model.model if isinstance(self.model, Actor) else self.model

    @property
    def module(self) -> nn.Module:
        """The model as it was before DeepSpeed wrapped it; under ZeRO-3 its parameters are partitioned."""
        return self.deepspeed.module

    @property
    def vocabulary(self) -> int:
        """The size of the model's vocabulary."""
        config: Any = self.module.config
        return int(config.vocab_size)

    @property
    def learning_rate(self) -> float:
        """The learning rate of the last step."""
        return float(self.scheduler.get_last_lr()[0])

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """Add this micro-batch's gradients. `last`: the optimizer step comes next."""
        self.deepspeed.set_gradient_accumulation_boundary(last)
        self.strategy.backward(loss, self.model, self.optimizer)

    def step(self) -> float:
        """Clip the gradients, take the step and advance the schedule. Returns the gradient norm before clipping.

        Raises LossNotFinite if the norm is not finite, before the step if DeepSpeed reports the norm in time.
        """
        plain = not hasattr(self.optimizer, "_global_grad_norm")
        norm = 0.0
        if plain:  # ZeRO-0 in fp32: torch's optimizer, and DeepSpeed does not keep the norm
            gradients = [value.grad for value in self.module.parameters() if value.grad is not None]
            norm = float(torch.nn.utils.get_total_norm(gradients))
            _refuse(norm)
        self.strategy.optimizer_step(self.optimizer, self.model, self.scheduler)
        if not plain:
            norm = self.strategy.get_grad_norm(self.model)
            _refuse(norm)
        return norm

    def save(self, folder: Path) -> None:
        """Write weights, optimizer and schedule. OpenRLHF deletes the oldest of the neighbouring folders."""
        self.strategy.save_ckpt(self.deepspeed, str(folder), tag=_TAG)

    def load(self, folder: Path) -> None:
        """Read what `save` wrote. Raises FileNotFoundError if there is no checkpoint."""
        found, _ = self.strategy.load_ckpt(self.deepspeed, str(folder), tag=_TAG)
        if found is None:
            raise FileNotFoundError(f"there is no learner checkpoint in {folder}")


def gathered(parameters: Iterable[nn.Parameter], *, change: bool = False) -> AbstractContextManager[None]:
    """In this context, these parameters are complete. With `change`, what rank 0 writes to them is sent to all ranks.

    Parameters that ZeRO-3 has not partitioned are always complete, and every rank must write to its own copy.
    """
    partitioned = [value for value in parameters if hasattr(value, "ds_id")]
    if not partitioned:
        return nullcontext()
    return deepspeed.zero.GatheredParameters(partitioned, modifier_rank=0 if change else None)


def elements(parameter: Tensor) -> int:
    """The number of elements of the complete parameter, even if ZeRO-3 keeps only a part of it on this rank."""
    return int(getattr(parameter, "ds_numel", parameter.numel()))


def _refuse(norm: float) -> None:
    if not math.isfinite(norm):
        raise LossNotFinite(f"the gradient norm is not finite ({norm}): go back to the last checkpoint")
