"""Policy-gradient updates: train the policy, and its critic if there is one, on a batch with advantages."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

from rl.learner.strategy import DeviceStrategy  # isort: skip  # imports OpenRLHF in the right order

import torch
from openrlhf.models import PolicyLoss, aggregate_loss
from openrlhf.models.utils import compute_approx_kl
from torch import Tensor

from rl.learner.batching import Micro, Step
from rl.learner.critic import Critic, explained_variance
from rl.learner.learner import Learner
from rl.learner.losses import LossNotFinite, PolicyLossSettings
from rl.learner.model import rows_on, token_logprobs
from rl.learner.setup import LearnerSetup
from rl.types import TrainBatch

_CRITIC = "critic"


class PolicyLearner(Learner):
    """Learns from a `TrainBatch` by `PolicyLossSettings`. Every method is collective."""

    def __init__(self, setup: LearnerSetup, strategy: DeviceStrategy) -> None:
        super().__init__(setup, strategy)
        assert isinstance(setup.loss, PolicyLossSettings)
        self.loss = setup.loss
        self.loss_terms = policy_loss(setup.loss)
        self.critic = None if setup.critic is None else Critic(setup, setup.critic, strategy)
        if self.critic is not None:
            self.not_shared_because = self.not_shared_because or self.critic.not_shared_because

    @torch.no_grad()
    def values(self, batch: TrainBatch, micros: list[Micro]) -> list[tuple[Micro, Tensor]]:
        """The critic's values, in the same form as `logprobs`. Empty without a critic."""
        if self.critic is None:
            return []
        self.critic.trained.deepspeed.eval()
        parts = [(rows, self.critic.values(rows_on(self.strategy.device, batch, rows)).cpu()) for rows in micros]
        return [(rows, values) for rows, values in parts if rows]

    def update(self, batch: TrainBatch, steps: list[Step], *, policy_learns: bool = True) -> dict[str, float]:
        """Take these optimizer steps and return the update's metrics, which are the same on all ranks.

        If `policy_learns` is False, only the critic is trained; the policy's loss is still reported. Raises
        LossNotFinite if a loss or a gradient norm is not finite. For a loss, that is always before the step is taken;
        for a gradient norm, only if DeepSpeed reports the norm in time.
        """
        started = time.perf_counter()
        reports = []
        for step in steps:
            valued = {} if self.critic is None else self.critic.step(batch, step)
            reports.append(self._step(batch, step, policy_learns) | valued)
        means = {name: sum(report[name] for report in reports) / len(reports) for name in reports[0]}
        means["ratio_max"] = max(report["ratio_max"] for report in reports)
        gap = {name: means.pop(name) for name in ("gap_mean", "gap_max")}
        # Only the first step still has the sampler's weights; truncated log-probabilities are not comparable at all.
        if not self.setup.truncation.active:
            means |= {name: reports[0][name] for name in gap}
        if self.critic is not None:
            means["explained_variance"] = explained_variance(batch)
        if policy_learns:
            self.add_to_average()
        return means | {
            "learning_rate": self.trained.learning_rate if policy_learns else 0.0,
            "tokens": float(sum(step.tokens for step in steps)),
            "steps": float(len(steps)),
            "seconds": time.perf_counter() - started,
        }

    def save_checkpoint(self, folder: Path) -> None:
        """Write everything needed to resume training bit for bit, including the critic."""
        super().save_checkpoint(folder)
        if self.critic is not None:
            self.critic.trained.save(folder / _CRITIC)

    def load_checkpoint(self, folder: Path) -> None:
        """Read what `save_checkpoint` wrote. Raises FileNotFoundError if there is no checkpoint."""
        super().load_checkpoint(folder)
        if self.critic is not None:
            self.critic.trained.load(folder / _CRITIC)

    def _step(self, batch: TrainBatch, step: Step, learns: bool) -> dict[str, float]:
        """Take one optimizer step over this rank's micro-batches."""
        self.trained.deepspeed.train(learns)
        micros = step.micros[self.strategy.get_rank()]
        totals = dict.fromkeys(("policy_loss", "kl_loss", "kl", "clipped", "surprise", "moved", "gap"), 0.0)
        largest = {"ratio_max": 0.0, "gap_max": 0.0}
        for index, rows in enumerate(micros):
            with torch.set_grad_enabled(learns):
                loss, sums, maxima = self._micro_loss(rows_on(self.strategy.device, batch, rows), step)
            if learns:
                self.trained.backward(loss, last=index == len(micros) - 1)
            largest = {name: max(value, maxima[name]) for name, value in largest.items()}
            for name, value in sums.items():
                totals[name] += value
        summed = dict(zip(totals, self.strategy.sum_over_ranks(list(totals.values())), strict=True))
        losses = {name: summed[name] / self.strategy.world_size for name in ("policy_loss", "kl_loss")}
        if not all(math.isfinite(value) for value in losses.values()):
            raise LossNotFinite(f"the loss is not finite ({losses}); the step was not taken")
        norm = self.trained.step() if learns else 0.0
        tokens = max(1, step.tokens)
        return {
            "loss": losses["policy_loss"] + losses["kl_loss"],
            **losses,
            "kl": summed["kl"] / tokens,
            "clip_fraction": summed["clipped"] / tokens,
            "entropy": summed["surprise"] / tokens,
            "kl_old": summed["moved"] / tokens,
            "gap_mean": summed["gap"] / tokens,
            **{name: self.strategy.max_over_ranks(value) for name, value in largest.items()},
            "grad_norm": norm,
        }

    def _micro_loss(self, rows: TrainBatch, step: Step) -> tuple[Tensor, dict[str, float], dict[str, float]]:
        """This micro-batch's share of the minibatch's loss, and sums and maxima for the metrics."""
        settings, mask = self.loss, rows.response_mask.float()
        reference = self._reference_of(rows)
        current = token_logprobs(self.actor, rows, self.setup.temperature)
        old = current.detach() if rows.old_logprobs is None else rows.old_logprobs
        counts: dict[str, Any] = {
            "dp_size": self.strategy.world_size,
            "batch_num_tokens": max(1, step.tokens),
            "global_batch_size": max(1, step.sequences),
        }
        if settings.aggregation == "constant":
            counts["batch_num_tokens"] = max(1, step.sequences) * (settings.constant_length or 1)
        advantages = rows.advantages
        if settings.ratio == "sequence" and settings.correction != "off":
            assert advantages is not None
            advantages = advantages * correction_weights(old, rows.behaviour_logprobs, mask, settings)
        policy, clipped, *_ = self.loss_terms(current, old, advantages, mask, rows.behaviour_logprobs, **counts)
        loss, kl_loss, kl = policy, torch.zeros(()), torch.zeros(())
        if reference is not None:
            kl = (compute_approx_kl(current.detach(), reference, kl_estimator="k3") * mask).sum()
        if settings.kl > 0:
            divergence = compute_approx_kl(current, reference, kl_estimator=settings.kl_estimator)
            by_token = settings.aggregation != "sequence"
            kl_loss = settings.kl * aggregate_loss(divergence, mask, token_level_loss=by_token, **counts)
            loss = policy + kl_loss
        present = float(mask.sum())
        moved = (old - current.detach()) * mask
        gap = (rows.behaviour_logprobs - current.detach()).abs() * mask
        sums = {
            "policy_loss": float(policy.detach()),
            "kl_loss": float(kl_loss.detach()),
            "kl": float(kl),
            "clipped": float(clipped) * present if present else 0.0,
            "surprise": -float(current.detach().sum()),
            "moved": float(moved.sum()),
            "gap": float(gap.sum()),
        }
        maxima = {"ratio_max": float((-moved).max().exp()) if present else 0.0, "gap_max": float(gap.max())}
        return loss, sums, maxima

    def _reference_of(self, rows: TrainBatch) -> Tensor | None:
        """The reference's log-probabilities of these rows: the batch's, or computed now if it has none."""
        if rows.reference_logprobs is not None or not self.setup.with_reference:
            return rows.reference_logprobs
        with torch.no_grad():
            return self.reference_logprobs(rows, self.setup.temperature)


def correction_weights(old: Tensor, behaviour: Tensor, mask: Tensor, settings: PolicyLossSettings) -> Tensor:
    """The importance weight learner / sampler of each token, clipped or masked as `settings` say: (B, L), at least 0.

    `old` and `behaviour` (B, L) are the learner's and the sampler's log-probabilities before the update; `mask` (B, L)
    is 1 on response tokens. The formula is the one in OpenRLHF's `PolicyLoss` for token ratios. For sequence ratios,
    OpenRLHF ignores the band and replaces `old` with the sampler's log-probabilities. Here the weights multiply the
    advantages, and thus the loss.
    """
    difference = (old - behaviour).detach()
    weights = difference.exp()
    low, high = settings.correction_low, settings.correction_high
    if settings.correction_mode == "clip":
        return weights.clamp(low, high)
    judged = weights
    if settings.correction == "sequence":
        judged = ((difference * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)).exp()[:, None]
    return torch.where((judged >= low) & (judged <= high), weights, 0.0)


def policy_loss(settings: PolicyLossSettings) -> PolicyLoss:
    """OpenRLHF's loss with these settings. For sequence ratios, `correction_weights` replaces its correction."""
    corrected = settings.correction if settings.ratio == "token" else "off"
    return PolicyLoss(
        clip_eps_low=settings.clip_low,
        clip_eps_high=settings.clip_high,
        dual_clip=settings.dual_clip,
        token_level_loss=settings.aggregation != "sequence",
        policy_loss_type="gspo" if settings.ratio == "sequence" else "ppo",
        is_correction_level={"off": "off", "token": "token", "sequence": "seq"}[corrected],
        is_correction_mode=settings.correction_mode,
        is_correction_threshold=[settings.correction_low, settings.correction_high],
    )
