"""Train a reward model in one DeepSpeed rank. Every method is collective: all ranks call it together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rl.learner.strategy import DeviceStrategy  # isort: skip  # imports OpenRLHF in the right order

import torch
from torch import Tensor

from rl.learner.batching import Micro, Step
from rl.learner.full_weights import full_weights
from rl.learner.losses import LossNotFinite
from rl.learner.trained_model import TrainedModel
from rl.reward_training.models import LabelTrainee, ScalarTrainee, Trainee
from rl.reward_training.settings import TrainingSetup


class RewardTrainer:
    """A model, its optimizer and its schedule."""

    def __init__(self, setup: TrainingSetup, strategy: DeviceStrategy) -> None:
        self.setup, self.strategy = setup, strategy
        settings = setup.settings
        self.trainee: Trainee = (
            LabelTrainee(setup.model, settings.dtype, strategy, setup.candidates)
            if setup.kind == "labels"
            else ScalarTrainee(setup.model, settings.dtype, strategy, setup.seed)
        )
        if settings.gradient_checkpointing:
            self.trainee.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        self.trained = TrainedModel(
            self.trainee.module, strategy, learning_rate=settings.learning_rate, steps=max(1, setup.steps)
        )

    def step(self, items: Sequence[Any], step: Step) -> dict[str, float]:
        """One optimizer step; returns loss (nats per term), accuracy, grad_norm and learning_rate, equal on all ranks.

        The loss is the mean over all terms of the step, however its rows are distributed. Raises LossNotFinite for a
        loss or a gradient that is not finite; no step is taken for such a loss.
        """
        self.trained.deepspeed.train()
        micros = step.micros[self.strategy.get_rank()]
        totals = torch.zeros(2, dtype=torch.float64)
        for index, rows in enumerate(micros):
            loss, sums = self._losses(items, rows)
            self.trained.backward(loss * self.strategy.world_size / max(1, step.tokens), last=index == len(micros) - 1)
            totals += sums
        mean, right = (value / max(1, step.tokens) for value in self.strategy.sum_over_ranks(totals.tolist()))
        if not math.isfinite(mean):
            raise LossNotFinite(f"the loss is not finite ({mean}); the step was not taken: lower the learning rate")
        norm = self.trained.step()
        return {"loss": mean, "accuracy": right, "grad_norm": norm, "learning_rate": self.trained.learning_rate}

    @torch.no_grad()
    def evaluate(self, items: Sequence[Any], micros: list[list[Micro]]) -> dict[str, float]:
        """Loss (nats per term) and accuracy on these rows, distributed over the ranks."""
        self.trained.deepspeed.eval()
        totals = torch.zeros(2, dtype=torch.float64)
        for rows in micros[self.strategy.get_rank()]:
            totals += self._losses(items, rows)[1]
        terms = sum(items[row].loss_terms for rank in micros for rows in rank for row in rows)
        loss, right = (value / max(1, terms) for value in self.strategy.sum_over_ranks(totals.tolist()))
        return {"loss": loss, "accuracy": right}

    def save_model(self, folder: Path) -> None:
        """Write the model in its published layout, with weights in the training precision."""
        weights: dict[str, Tensor] = {}
        for named in full_weights(self.trainee.model):
            if self.strategy.is_rank_0():
                weights |= {name: value.to("cpu", copy=True) for name, value in named}
        if self.strategy.is_rank_0():
            self.trainee.write(weights, self.setup.model, folder)

    def save(self, folder: Path) -> None:
        """Write everything that training needs to continue bit for bit."""
        self.trained.save(folder)

    def load(self, folder: Path) -> None:
        """Read what `save` wrote. Raises FileNotFoundError if there is nothing."""
        self.trained.load(folder)

    def _losses(self, items: Sequence[Any], rows: Micro) -> tuple[Tensor, Tensor]:
        """The summed loss of these rows, and (loss, right) for the metrics; zeros if there are no rows.

        A rank without rows runs the shortest row with weight 0, because DeepSpeed's ranks must stay in step.
        """
        chosen = rows or [min(range(len(items)), key=lambda row: len(items[row]))]
        loss, right = self.trainee.losses(
            self.trained.deepspeed, [items[row] for row in chosen], self.setup.layout, self.strategy.device
        )
        counts = float(bool(rows))
        sums = torch.tensor([float(loss.detach()), float(right)], dtype=torch.float64)
        return loss * counts, sums * counts
