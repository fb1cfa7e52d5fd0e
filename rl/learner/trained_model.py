"""One model under DeepSpeed with its optimizer and schedule: gradients in, steps out, weights whole again on demand."""

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
        """Tokens that the model knows."""
        config: Any = self.module.config
        return int(config.vocab_size)

    @property
    def learning_rate(self) -> float:
        """The rate of the last step taken."""
        return float(self.scheduler.get_last_lr()[0])

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """Add this micro-batch's gradients; `last` says that the next thing is the step."""
        self.deepspeed.set_gradient_accumulation_boundary(last)
        self.strategy.backward(loss, self.model, self.optimizer)

    def step(self) -> float:
        """Clip, step and move the learning rate; returns the gradient norm before clipping.

        Raises LossNotFinite where the norm is not finite, before the step where DeepSpeed tells in time.
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
        """Write weights, optimizer and schedule. OpenRLHF deletes the oldest folders beside what it writes here."""
        self.strategy.save_ckpt(self.deepspeed, str(folder), tag=_TAG)

    def load(self, folder: Path) -> None:
        """Read what `save` wrote. Raises FileNotFoundError where there is nothing."""
        found, _ = self.strategy.load_ckpt(self.deepspeed, str(folder), tag=_TAG)
        if found is None:
            raise FileNotFoundError(f"there is no learner checkpoint in {folder}")


def gathered(parameters: Iterable[nn.Parameter], *, change: bool = False) -> AbstractContextManager[None]:
    """Within it these parameters are whole; with `change`, what rank 0 writes into them holds for all ranks after it.

    Parameters that ZeRO-3 has not partitioned are whole anyway, and every rank must write into its own.
    """
    partitioned = [value for value in parameters if hasattr(value, "ds_id")]
    if not partitioned:
        return nullcontext()
    return deepspeed.zero.GatheredParameters(partitioned, modifier_rank=0 if change else None)


def elements(parameter: Tensor) -> int:
    """Elements of a parameter, whole even where ZeRO-3 has left only a part of it here."""
    return int(getattr(parameter, "ds_numel", parameter.numel()))


def _refuse(norm: float) -> None:
    if not math.isfinite(norm):
        raise LossNotFinite(f"the gradient norm is not finite ({norm}): go back to the last checkpoint")
