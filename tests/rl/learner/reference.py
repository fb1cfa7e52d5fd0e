"""The learner's steps written again in plain torch, in one process, one pass over the whole minibatch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, pad
from transformers import AutoModel, AutoModelForCausalLM

from rl.learner.batching import Step, plan_pairs, plan_update
from rl.learner.losses import PolicyLossSettings, PreferenceLossSettings
from rl.settings import LearnerSettings
from rl.types import Preferences, TrainBatch


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


class Trainer:
    """AdamW with clipping on the trainable parameters of a model, norms without weight decay."""

    def __init__(self, model: nn.Module, settings: LearnerSettings, learning_rate: float) -> None:
        self.settings = settings
        self.named = {name: value for name, value in model.named_parameters() if value.requires_grad}
        sure = {name: torch.ones_like(value, dtype=torch.bool) for name, value in self.named.items()}
        self.trained = Trained({}, sure)
        groups = [
            {"params": [value for name, value in self.named.items() if ("norm" in name) == bare], "weight_decay": decay}
            for bare, decay in ((False, settings.weight_decay), (True, 0.0))
        ]
        self.optimizer = torch.optim.AdamW(
            [group for group in groups if group["params"]], lr=learning_rate, betas=settings.betas
        )

    def step(self, loss: Tensor) -> None:
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.named.values(), self.settings.max_grad_norm)
        for name, parameter in self.named.items():
            assert parameter.grad is not None
            self.trained.sure[name] &= (parameter.grad == 0) | (parameter.grad.abs() > 1e-7)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.trained.losses.append(float(loss.detach()))
        self.trained.norms.append(float(norm))

    def finish(self) -> Trained:
        self.trained.weights = {name: value.detach() for name, value in self.named.items()}
        return self.trained


def load(folder: Path) -> nn.Module:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")


def token_logprobs(model: nn.Module, batch: TrainBatch, temperature: float) -> Tensor:
    """(B, L): log p of each token given those before it, at this temperature; column 0 is 0."""
    logits = model(batch.input_ids, attention_mask=batch.attention_mask.long()).logits[:, :-1] / temperature
    chosen = logits.log_softmax(-1).gather(-1, batch.input_ids[:, 1:, None])[..., 0]
    return pad(chosen, (1, 0)) * batch.response_mask


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
    change: Callable[[nn.Module], nn.Module] = lambda model: model,
) -> Trained:
    """One update for each seed, starting from the model in `folder`, changed by `change`."""
    model = change(load(folder))
    trainer = Trainer(model, settings, settings.learning_rate)
    for seed in seeds:
        with torch.no_grad():
            before = token_logprobs(model, batch, temperature)
        for step in plan_update(batch, settings, seed, shared=True):
            rows = rows_of(step)
            part = batch.select(rows)
            current = token_logprobs(model, part, temperature)
            trainer.step(clipped_loss(part, current, before[rows][:, : current.shape[1]], loss))
    return trainer.finish()


class ValueModel(nn.Module):
    """A transformer with one number on every position, and the head that the learner draws."""

    def __init__(self, folder: Path, seed: int) -> None:
        super().__init__()
        self.backbone = AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
        width = self.backbone.config.hidden_size
        head = torch.randn(1, width, generator=torch.Generator().manual_seed(seed)) / (width + 1)
        self.head = nn.Parameter(head)

    def forward(self, batch: TrainBatch) -> Tensor:
        """(B, L): column t holds the value of what was read before token t."""
        states = self.backbone(batch.input_ids, attention_mask=batch.attention_mask.long()).last_hidden_state
        return pad((states @ self.head[0])[:, :-1], (1, 0)) * batch.response_mask


def train_values(
    model: ValueModel, batch: TrainBatch, settings: LearnerSettings, rate: float, clip: float | None, seed: int
) -> Trained:
    """One update of the critic towards `returns`, values kept within `clip` of the old ones."""
    trainer = Trainer(model, settings, rate)
    for step in plan_update(batch, settings, seed, shared=True):
        part = batch.select(rows_of(step))
        assert part.values is not None and part.returns is not None
        values = model(part)
        error = (values - part.returns).square()
        if clip is not None:
            near = part.values + (values - part.values).clamp(-clip, clip)
            error = torch.maximum(error, (near - part.returns).square())
        trainer.step(0.5 * error[part.response_mask].mean())
    return trainer.finish()


def train_pairs(
    folder: Path, pairs: Preferences, settings: LearnerSettings, loss: PreferenceLossSettings, seed: int
) -> Trained:
    """One update on preference pairs, the policy before it being the reference."""
    model = load(folder)
    trainer = Trainer(model, settings, settings.learning_rate)
    sides = [pairs.batch.select(side) for side in (pairs.chosen, pairs.rejected)]
    with torch.no_grad():
        frozen = [token_logprobs(model, side, 1.0).sum(dim=1) for side in sides]
    for step in plan_pairs(pairs, settings, seed, shared=True):
        rows = rows_of(step)
        now = [token_logprobs(model, side.select(rows), 1.0).sum(dim=1) for side in sides]
        logits = (now[0] - frozen[0][rows]) - (now[1] - frozen[1][rows])
        if loss.ipo:
            each = (logits - 1 / (2 * loss.beta)).square()
        else:
            right, wrong = logsigmoid(loss.beta * logits), logsigmoid(-loss.beta * logits)
            each = -(1 - loss.label_smoothing) * right - loss.label_smoothing * wrong
        lengths = sides[0].response_mask[rows].sum(dim=1).clamp(min=1)
        trainer.step((each - loss.nll_coefficient * now[0] / lengths).mean())
    return trainer.finish()


def rows_of(step: Step) -> list[int]:
    """The rows of one optimizer step, of all ranks together."""
    return [row for micros in step.micros for micro in micros for row in micro]


def largest_difference(weights: dict[str, Tensor], trained: Trained) -> float:
    """Over all weights whose gradient was not lost in rounding, which must be nearly all of them."""
    assert weights.keys() == trained.weights.keys()
    sure = torch.cat([trained.sure[name].flatten() for name in weights])
    apart = torch.cat([(weights[name] - trained.weights[name]).abs().flatten() for name in weights])
    assert float(sure.float().mean()) > 0.98
    return float(apart[sure].max())
