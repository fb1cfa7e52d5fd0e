"""PPO's critic: OpenRLHF's value model, with its own DeepSpeed engine.

The value in column t estimates the return from token t on, given the tokens before t. It has the same position as the
log-probability of token t. The loss is a mean over the minibatch's response tokens.
"""

from __future__ import annotations

from typing import Any

from rl.learner.strategy import DeviceStrategy  # isort: skip  # imports OpenRLHF in the right order

import math

import torch
from openrlhf.models import ValueLoss
from openrlhf.models.model import _get_critic_model
from torch import Tensor, nn
from torch.nn.functional import pad
from transformers import AutoConfig, AutoModel

from rl.learner.batching import Step
from rl.learner.forward import read_values, reads_packed_rows
from rl.learner.losses import LossNotFinite
from rl.learner.model import loading, place_on_device, rows_on
from rl.learner.packing import packed
from rl.learner.setup import LearnerSetup
from rl.learner.sharing import why_not_shared
from rl.learner.trained_model import TrainedModel, gathered
from rl.settings import CriticSettings, require
from rl.types import TrainBatch


class Critic:
    """The value model and its optimizer. Every method is collective."""

    def __init__(self, setup: LearnerSetup, settings: CriticSettings, strategy: DeviceStrategy) -> None:
        self.strategy = strategy
        model: Any = load_value_model(settings.path or setup.policy.path, setup, strategy)
        if setup.settings.gradient_checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        self.trained = TrainedModel(model, strategy, learning_rate=settings.learning_rate, steps=setup.critic_steps)
        self.loss = ValueLoss(settings.value_clip)
        self.shares_prompts = False
        self.not_shared_because = self._share_prompts(setup)

    def values(self, rows: TrainBatch) -> Tensor:
        """Token-aligned values, (b, l) float32, 0 outside the response."""
        if self.shares_prompts:
            together = packed(rows)
            return together.spread(self.trained.deepspeed(packed_rows=together))
        values: Tensor = self.trained.deepspeed(
            rows.input_ids,
            action_mask=rows.response_mask[:, 1:],
            attention_mask=torch.ones_like(rows.input_ids),
        )
        return pad(values.float(), (1, 0))

    @torch.no_grad()
    def _share_prompts(self, setup: LearnerSetup) -> str | None:
        """Compute each prompt once for all its responses, if the model supports it; otherwise return why not."""
        if not setup.settings.share_prompts:
            return "learner.share_prompts is false"
        self.trained.deepspeed.eval()

        def read(rows: TrainBatch, shared: bool) -> Tensor:
            self.shares_prompts = shared
            return self.values(rows)

        reason = why_not_shared(read, self.trained.vocabulary, setup)
        self.shares_prompts = reason is None
        return None if reason is None else f"the critic: {reason}"

    def step(self, batch: TrainBatch, step: Step) -> dict[str, float]:
        """Take one optimizer step over this rank's micro-batches. The batch must have `values` and `returns`.

        Raises LossNotFinite if the loss or the gradient norm is not finite.
        """
        self.trained.deepspeed.train()
        micros = step.micros[self.strategy.get_rank()]
        total = 0.0
        for index, rows in enumerate(micros):
            part = rows_on(self.strategy.device, batch, rows)
            counts = {"dp_size": self.strategy.world_size, "batch_num_tokens": max(1, step.tokens)}
            loss = self.loss(self.values(part), part.values, part.returns, part.response_mask.float(), **counts)
            self.trained.backward(loss, last=index == len(micros) - 1)
            total += float(loss.detach())
        (summed,) = self.strategy.sum_over_ranks([total])
        value_loss = summed / self.strategy.world_size
        if not math.isfinite(value_loss):
            raise LossNotFinite(f"the critic's loss is not finite ({value_loss}); the step was not taken")
        return {"value_loss": value_loss, "value_grad_norm": self.trained.step()}


def explained_variance(batch: TrainBatch) -> float:
    """1 - Var(returns - values) / Var(returns) over response tokens: 1 is perfect, 0 is no better than a constant.

    Returns 0 if all returns are equal.
    """
    assert batch.values is not None and batch.returns is not None
    returns, values = batch.returns[batch.response_mask], batch.values[batch.response_mask]
    spread = float(returns.var(correction=0)) if len(returns) else 0.0
    return 1 - float((returns - values).var(correction=0)) / spread if spread > 0 else 0.0


def load_value_model(path: str, setup: LearnerSetup, strategy: DeviceStrategy) -> nn.Module:
    """OpenRLHF's critic built on the model in `path`. If that has no value head, the seed initialises one.

    Raises ValueError if any other weight is missing from the folder.
    """
    config = AutoConfig.from_pretrained(path)
    config.normalize_reward = False
    head = getattr(config, "value_head_prefix", "score")
    backbone = AutoModel._model_mapping[type(config)]
    cls: Any = _get_critic_model(backbone.__base__, backbone, head)
    with loading(setup.policy, strategy) as options:
        model, report = cls.from_pretrained(
            path, config=config, output_loading_info=True, ignore_mismatched_sizes=True, **options
        )
    unread = {*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])}
    strange = sorted(unread - {f"{head}.weight"})
    require(not strange, f"critic.path: the model in {path} lacks {len(strange)} weights, for example {strange[:1]}")
    if unread:
        draw_head(getattr(model, head).weight, config.hidden_size, setup.seed)
    model.config.use_cache = False
    place_on_device(model, strategy)
    reads_packed_rows(model, read_values)
    return model


def draw_head(weight: nn.Parameter, width: int, seed: int) -> None:
    """Initialise a value head as OpenRLHF does, identically on every rank."""
    with gathered([weight], change=True), torch.no_grad():
        generator = torch.Generator().manual_seed(seed)
        weight.copy_(torch.randn(weight.shape, generator=generator) / (width + 1))
