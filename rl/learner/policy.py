"""The policy under DeepSpeed in one process: log-probabilities, optimizer steps, weights, checkpoints.

One object of this class lives in every learner rank, and every method is collective: all ranks call it together.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from rl.learner.strategy import DeviceStrategy  # isort: skip  # imports OpenRLHF in the right order

import deepspeed
import torch
from openrlhf.models import Actor, PolicyLoss, aggregate_loss
from openrlhf.models.utils import compute_approx_kl
from torch import Tensor
from transformers import AutoTokenizer

from rl.learner.batching import Micro, Step
from rl.learner.losses import LossNotFinite, PolicyLossSettings
from rl.learner.model import load_actor, token_logprobs
from rl.settings import PolicySettings
from rl.types import TrainBatch
from rl.weights import Bucket, pack, split

_CHECKPOINT = "deepspeed"
"""Folder of DeepSpeed's own files in a checkpoint: OpenRLHF deletes the oldest folders beside what it writes."""


class PolicyLearner:
    """The policy, its optimizer and, if asked for, the frozen reference it started from."""

    def __init__(
        self,
        policy: PolicySettings,
        strategy: DeviceStrategy,
        loss: PolicyLossSettings,
        *,
        temperature: float,
        with_reference: bool,
    ) -> None:
        self.policy = policy
        self.strategy = strategy
        self.loss = loss
        self.loss_terms = policy_loss(loss)
        actor = load_actor(policy, strategy, temperature)
        if strategy.settings.gradient_checkpointing:
            actor.gradient_checkpointing_enable()
        self.actor, self.optimizer, self.scheduler = strategy.prepare((actor, strategy.train_config()))
        self.reference = self._load_reference(temperature) if with_reference else None

    @property
    def engine(self) -> Any:
        """DeepSpeed's engine round the policy."""
        return self.actor.model

    def logprobs(self, batch: TrainBatch, micros: list[Micro]) -> list[tuple[Micro, Tensor, Tensor | None]]:
        """Log-probabilities of the sampled tokens at the sampling temperature, a micro-batch at a time.

        Returns for each micro-batch its rows, the policy's (b, l) float32, and the reference's, on the CPU and trimmed
        to the micro-batch's longest row.
        """
        self.engine.eval()
        results = []
        with torch.no_grad():
            for rows in micros:
                part = self._rows(batch, rows)
                policy = token_logprobs(self.actor, part).cpu()
                reference = None if self.reference is None else token_logprobs(self.reference, part).cpu()
                if rows:
                    results.append((rows, policy, reference))
        return results

    def update(self, batch: TrainBatch, steps: list[Step]) -> dict[str, float]:
        """Take these optimizer steps and return the update's metrics, equal on all ranks.

        Raises LossNotFinite where a loss or a gradient norm is not a number; before the step is taken where DeepSpeed
        tells in time (a loss that is not finite always stops before the step).
        """
        started = time.perf_counter()
        self.engine.train()
        reports = [self._step(batch, step) for step in steps]
        tokens = sum(step.tokens for step in steps)
        means = {name: sum(report[name] for report in reports) / len(reports) for name in reports[0]}
        means["ratio_max"] = max(report["ratio_max"] for report in reports)
        return means | {
            "learning_rate": float(self.scheduler.get_last_lr()[0]),
            "tokens": float(tokens),
            "steps": float(len(steps)),
            "seconds": time.perf_counter() - started,
        }

    def buckets(self, bucket_bytes: int) -> Iterator[Bucket | None]:
        """The weights in buckets on rank 0; None for each bucket on the other ranks, which help to gather it."""
        parameters = dict(self.engine.module.named_parameters())
        sizes = [(name, _elements(value) * value.element_size()) for name, value in parameters.items()]
        for names in split(sizes, bucket_bytes):
            chosen = [parameters[name] for name in names]
            with deepspeed.zero.GatheredParameters(chosen) if self.strategy.stage == 3 else nullcontext():
                first = self.strategy.is_rank_0()
                bucket = pack(zip(names, chosen, strict=True)) if first else None
            yield bucket

    def save_policy(self, folder: Path) -> None:
        """Write weights (safetensors), configuration and tokenizer as a Hugging Face folder."""
        self.strategy.save_model(self.actor, AutoTokenizer.from_pretrained(self.policy.path), str(folder))

    def save_checkpoint(self, folder: Path) -> None:
        """Write weights, optimizer and learning-rate schedule, from which training resumes bit for bit."""
        self.strategy.save_ckpt(self.engine, str(folder / _CHECKPOINT), tag="state")

    def load_checkpoint(self, folder: Path) -> None:
        """Read what `save_checkpoint` wrote. Raises FileNotFoundError where there is no checkpoint."""
        found, _ = self.strategy.load_ckpt(self.engine, str(folder / _CHECKPOINT), tag="state")
        if found is None:
            raise FileNotFoundError(f"there is no learner checkpoint in {folder}")

    def _load_reference(self, temperature: float) -> Actor:
        """The frozen policy: partitioned under ZeRO-3 like the policy, else whole in every rank."""
        reference = load_actor(self.policy, self.strategy, temperature)
        if self.strategy.stage == 3:
            reference = self.strategy.prepare(reference)
        reference.eval()
        return reference

    def _step(self, batch: TrainBatch, step: Step) -> dict[str, float]:
        """One optimizer step over this rank's micro-batches."""
        micros = step.micros[self.strategy.get_rank()]
        totals = dict.fromkeys(("policy_loss", "kl_loss", "kl", "clipped", "surprise", "moved"), 0.0)
        ratio_max = 0.0
        for index, rows in enumerate(micros):
            self.engine.set_gradient_accumulation_boundary(index == len(micros) - 1)
            loss, sums, ratio = self._micro_loss(self._rows(batch, rows), step)
            self.strategy.backward(loss, self.actor, self.optimizer)
            ratio_max = max(ratio_max, ratio)
            for name, value in sums.items():
                totals[name] += value
        summed = dict(zip(totals, self.strategy.sum_over_ranks(list(totals.values())), strict=True))
        losses = {name: summed[name] / self.strategy.world_size for name in ("policy_loss", "kl_loss")}
        if not all(math.isfinite(value) for value in losses.values()):
            raise LossNotFinite(f"the loss is not finite ({losses}); the step was not taken")
        norm = self._optimizer_step()
        tokens = max(1, step.tokens)
        return {
            "loss": losses["policy_loss"] + losses["kl_loss"],
            **losses,
            "kl": summed["kl"] / tokens,
            "clip_fraction": summed["clipped"] / tokens,
            "entropy": summed["surprise"] / tokens,
            "kl_old": summed["moved"] / tokens,
            "ratio_max": self.strategy.max_over_ranks(ratio_max),
            "grad_norm": norm,
        }

    def _micro_loss(self, rows: TrainBatch, step: Step) -> tuple[Tensor, dict[str, float], float]:
        """This micro-batch's share of the minibatch's loss, its sums for the metrics, and its largest ratio."""
        settings, mask = self.loss, rows.response_mask.float()
        current = token_logprobs(self.actor, rows)
        old = current.detach() if rows.old_logprobs is None else rows.old_logprobs
        counts: dict[str, Any] = {
            "dp_size": self.strategy.world_size,
            "batch_num_tokens": max(1, step.tokens),
            "global_batch_size": max(1, step.sequences),
        }
        if settings.aggregation == "constant":
            counts["batch_num_tokens"] = max(1, step.sequences) * (settings.constant_length or 1)
        policy, clipped, *_ = self.loss_terms(current, old, rows.advantages, mask, rows.behaviour_logprobs, **counts)
        loss, kl_loss, kl = policy, torch.zeros(()), torch.zeros(())
        if rows.reference_logprobs is not None:
            kl = (compute_approx_kl(current.detach(), rows.reference_logprobs, kl_estimator="k3") * mask).sum()
        if settings.kl > 0:
            divergence = compute_approx_kl(
                current,
                rows.reference_logprobs,
                old,
                kl_estimator=settings.kl_estimator,
                unbiased_gradient=settings.kl_unbiased_gradient,
            )
            by_token = settings.aggregation != "sequence"
            kl_loss = settings.kl * aggregate_loss(divergence, mask, token_level_loss=by_token, **counts)
            loss = policy + kl_loss
        present = float(mask.sum())
        moved = (old - current.detach()) * mask
        sums = {
            "policy_loss": float(policy.detach()),
            "kl_loss": float(kl_loss.detach()),
            "kl": float(kl),
            "clipped": float(clipped) * present if present else 0.0,
            "surprise": -float(current.detach().sum()),
            "moved": float(moved.sum()),
        }
        return loss, sums, float((-moved).max().exp()) if present else 0.0

    def _optimizer_step(self) -> float:
        """Clip, step and move the learning rate; returns the gradient norm before clipping."""
        plain = not hasattr(self.optimizer, "_global_grad_norm")
        norm = 0.0
        if plain:  # ZeRO-0 in fp32: torch's optimizer, and DeepSpeed does not keep the norm
            gradients = [value.grad for value in self.engine.module.parameters() if value.grad is not None]
            norm = float(torch.nn.utils.get_total_norm(gradients))
            self._refuse_norm(norm)
        self.strategy.optimizer_step(self.optimizer, self.actor, self.scheduler)
        if not plain:
            norm = self.strategy.get_grad_norm(self.actor)
            self._refuse_norm(norm)
        return norm

    def _refuse_norm(self, norm: float) -> None:
        if not math.isfinite(norm):
            raise LossNotFinite(f"the gradient norm is not finite ({norm}): go back to the last checkpoint")

    def _rows(self, batch: TrainBatch, rows: Micro) -> TrainBatch:
        """These rows on the device; without rows the shortest one, its response masked, to keep the ranks in step."""
        if rows:
            chosen = batch.select(rows)
        else:
            chosen = batch.select([int(batch.attention_mask.sum(dim=1).argmin())])
            chosen.response_mask = torch.zeros_like(chosen.response_mask)
        device = self.strategy.device
        return replace(chosen, **{name: value.to(device) for name, value in vars(chosen).items() if value is not None})


def policy_loss(settings: PolicyLossSettings) -> PolicyLoss:
    """OpenRLHF's loss with these settings."""
    return PolicyLoss(
        clip_eps_low=settings.clip_low,
        clip_eps_high=settings.clip_high,
        dual_clip=settings.dual_clip,
        token_level_loss=settings.aggregation != "sequence",
        policy_loss_type="gspo" if settings.ratio == "sequence" else "ppo",
        is_correction_level={"off": "off", "token": "token", "sequence": "seq"}[settings.correction],
        is_correction_mode=settings.correction_mode,
        is_correction_threshold=[settings.correction_low, settings.correction_high],
    )


def _elements(parameter: Tensor) -> int:
    """Elements of a parameter, whole even where ZeRO-3 has left only a part of it here."""
    return int(getattr(parameter, "ds_numel", parameter.numel()))
