"""The learner's step written again in plain torch, in one process, one pass over the whole minibatch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from rl.learner.batching import plan_update
from rl.learner.losses import PolicyLossSettings
from rl.settings import LearnerSettings
from rl.types import TrainBatch


@dataclass
class Trained:
    """What plain torch arrives at: the weights and each optimizer step's loss and gradient norm.

    `sure[name]` is False where a gradient was so small (but not 0) that float32 sums in another order may turn its
    sign: Adam makes a step of the learning rate's size of it all the same.
    """

    weights: dict[str, Tensor]
    sure: dict[str, Tensor]
    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)


def token_logprobs(model: torch.nn.Module, batch: TrainBatch, temperature: float) -> Tensor:
    """(B, L): log p of each token given those before it, at this temperature; column 0 is 0."""
    logits = model(batch.input_ids, attention_mask=batch.attention_mask.long()).logits[:, :-1] / temperature
    chosen = logits.log_softmax(-1).gather(-1, batch.input_ids[:, 1:, None])[..., 0]
    return torch.nn.functional.pad(chosen, (1, 0)) * batch.response_mask


def clipped_loss(batch: TrainBatch, current: Tensor, old: Tensor, loss: PolicyLossSettings) -> Tensor:
    """PPO's loss with its KL term (k3), over the whole minibatch at once."""
    assert batch.advantages is not None
    mask = batch.response_mask.float()
    ratio = (current - old).exp()
    clipped = ratio.clamp(1 - loss.clip_low, 1 + loss.clip_high)
    each = -torch.minimum(ratio * batch.advantages, clipped * batch.advantages)
    if loss.kl:
        assert batch.reference_logprobs is not None
        away = batch.reference_logprobs - current
        each = each + loss.kl * (away.exp() - 1 - away).clamp(max=10)  # OpenRLHF bounds a token's KL so
    if loss.aggregation == "token":
        return (each * mask).sum() / mask.sum()
    if loss.aggregation == "constant":
        assert loss.constant_length is not None
        return (each * mask).sum() / ((mask.sum(dim=1) > 0).sum() * loss.constant_length)
    filled = mask.sum(dim=1) > 0
    return ((each * mask).sum(dim=1)[filled] / mask.sum(dim=1)[filled]).mean()


def train(
    folder: Path,
    batch: TrainBatch,
    settings: LearnerSettings,
    loss: PolicyLossSettings,
    temperature: float,
    seeds: list[int],
) -> Trained:
    """One update for each seed, starting from the model in `folder`."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    named = dict(model.named_parameters())
    trained = Trained(named, {name: torch.ones_like(value, dtype=torch.bool) for name, value in named.items()})
    bare = [value for name, value in named.items() if "norm" in name]
    rest = [value for name, value in named.items() if "norm" not in name]
    optimizer = torch.optim.AdamW(
        [{"params": rest, "weight_decay": settings.weight_decay}, {"params": bare, "weight_decay": 0.0}],
        lr=settings.learning_rate,
        betas=settings.betas,
    )
    for seed in seeds:
        with torch.no_grad():
            before = token_logprobs(model, batch, temperature)
        steps = plan_update(batch.attention_mask.sum(1), batch.response_mask.sum(1), settings, seed)
        for step in steps:
            rows = [row for micros in step.micros for micro in micros for row in micro]
            part = batch.select(rows)
            current = token_logprobs(model, part, temperature)
            value = clipped_loss(part, current, before[rows][:, : current.shape[1]], loss)
            value.backward()
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), settings.max_grad_norm)
            for name, parameter in named.items():
                assert parameter.grad is not None
                trained.sure[name] &= (parameter.grad == 0) | (parameter.grad.abs() > 1e-7)
            optimizer.step()
            optimizer.zero_grad()
            trained.losses.append(float(value.detach()))
            trained.norms.append(float(norm))
    trained.weights = {name: value.detach() for name, value in named.items()}
    return trained
