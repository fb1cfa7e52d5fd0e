"""Train a small causal language model: next-token cross-entropy, weighted token by token.

Matrices are trained with Muon and everything else (embeddings, norms) with AdamW: on tiny models this reaches in a
minute what AdamW alone does not reach in several. The learning rate warms up, stays constant, and falls linearly to a
tenth.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel


@dataclass(frozen=True)
class Example:
    """One sequence to learn from.

    `ids` are what the model reads. `targets[t]` is the token to predict *at* position t (from ids[: t + 1]) and
    `weights[t]` is the weight of that prediction; both have the length of `ids`. A target need not be the next id: a
    process reward model reads `+` after every step, whatever it should have predicted.
    """

    ids: Sequence[int]
    targets: Sequence[int]
    weights: Sequence[float]


@dataclass(frozen=True)
class Schedule:
    """How long and how hard to train."""

    updates: int
    batch: int = 128  # sequences per update
    muon_rate: float = 0.02
    adam_rate: float = 4e-3
    warmup: int = 20  # updates


def collate(examples: Sequence[Example]) -> tuple[Tensor, Tensor, Tensor]:
    """Right-padded ids (B, L) int64, targets (B, L) int64 and weights (B, L) float32; padding has weight 0."""
    length = max(len(example.ids) for example in examples)
    ids = torch.zeros(len(examples), length, dtype=torch.long)
    targets = torch.zeros_like(ids)
    weights = torch.zeros(len(examples), length)
    for row, example in enumerate(examples):
        size = len(example.ids)
        ids[row, :size] = torch.tensor(example.ids)
        targets[row, :size] = torch.tensor(example.targets)
        weights[row, :size] = torch.tensor(example.weights)
    return ids, targets, weights


def token_losses(
    model: PreTrainedModel, ids: Tensor, targets: Tensor, weights: Tensor, labels: tuple[int, int] | None = None
) -> Tensor:
    """Weighted mean cross-entropy in nats. Logits are computed only at positions whose weight is not zero.

    If the target is one of the two `labels`, the softmax is over these two only, as in scoring. The padding is on the
    right and attention is causal, so no attention mask is needed.
    """
    hidden = model.get_decoder()(input_ids=ids).last_hidden_state
    weighted = weights > 0
    logits = model.get_output_embeddings()(hidden[weighted])
    wanted = targets[weighted]
    if labels is not None:
        outside = torch.ones(logits.shape[-1], dtype=torch.bool).index_fill(0, torch.tensor(labels), False)
        judged = (wanted == labels[0]) | (wanted == labels[1])
        logits = logits.masked_fill(judged[:, None] & outside, float("-inf"))
    losses = nn.functional.cross_entropy(logits.float(), wanted, reduction="none")
    return (losses * weights[weighted]).sum() / weights.sum()


def train(
    model: PreTrainedModel,
    batches: Iterator[list[Example]],
    schedule: Schedule,
    labels: tuple[int, int] | None = None,
    report: Callable[[int, float, float], None] = lambda update, loss, seconds: None,
) -> float:
    """Train in place for `schedule.updates` batches; returns the mean loss of the last tenth.

    Raises ValueError if the loss is not finite.
    """
    return descend(model, lambda: token_losses(model, *collate(next(batches)), labels=labels), schedule, report)


def descend(
    model: nn.Module,
    next_loss: Callable[[], Tensor],
    schedule: Schedule,
    report: Callable[[int, float, float], None] = lambda update, loss, seconds: None,
) -> float:
    """Minimise `next_loss`, one scalar per batch, over the model's parameters; returns the mean of the last tenth.

    Muon gets all matrices except embeddings and those with `head` in their name. Raises ValueError if the loss is not
    finite.
    """
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name and "head" not in name]
    chosen = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in chosen]
    optimizers = [
        torch.optim.Muon(
            matrices, lr=schedule.muon_rate, momentum=0.95, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"
        ),
        torch.optim.AdamW(others, lr=schedule.adam_rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]
    peaks = [schedule.muon_rate, schedule.adam_rate]
    model.train()
    recent: list[float] = []
    began = time.monotonic()
    for update in range(schedule.updates):
        for optimizer, peak in zip(optimizers, peaks, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = peak * share_of_peak(update, schedule)
        with torch.autocast("cpu", torch.bfloat16):  # one context per update: it caches its casts of the weights
            loss = next_loss()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        recent = [*recent, loss.item()][-max(schedule.updates // 10, 1) :]
        if not math.isfinite(recent[-1]):
            raise ValueError(f"the loss is {recent[-1]} at update {update}: lower the learning rate")
        report(update, recent[-1], time.monotonic() - began)
    model.eval()
    return sum(recent) / len(recent)


def share_of_peak(update: int, schedule: Schedule) -> float:
    """The learning rate as a share of its peak: linear warm-up, constant to 40%, then linear down to a tenth."""
    if update < schedule.warmup:
        return (update + 1) / schedule.warmup
    done = update / max(schedule.updates, 1)
    return 1.0 if done < 0.4 else 1.0 - 0.9 * (done - 0.4) / 0.6
