"""What all learners share: the policy under DeepSpeed, the reference, log-probabilities, saving and loading.

Every learner rank has one such object, and every method is collective: all ranks call it together.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from rl.learner.strategy import DeviceStrategy  # isort: skip  # imports OpenRLHF in the right order

import torch
from openrlhf.models import Actor
from peft import PeftModel
from torch import Tensor, nn
from torch import distributed as dist

from rl.learner.adapters import REFERENCE, TRAINED, adapter_parameters, as_reference, attach
from rl.learner.batching import Micro
from rl.learner.full_weights import MovingAverage, full_weights, write_model
from rl.learner.model import load_actor, rows_on, token_logprobs, token_logprobs_with_kept
from rl.learner.setup import LearnerSetup
from rl.learner.sharing import why_not_shared
from rl.learner.trained_model import TrainedModel, elements, gathered
from rl.types import TrainBatch
from rl.weights import Bucket, pack, split

LogProbRows = tuple[Micro, Tensor, Tensor | None, Tensor | None]
"""Rows of a batch, and their (b, l) log-probabilities: the policy's, the reference's, and those of all kept tokens."""

_ENGINE, _REFERENCE, _AVERAGE = "deepspeed", "reference.pt", "average.pt"


class Learner:
    """The policy, its optimizer and, if the setup asks for them, the frozen reference and a moving average."""

    def __init__(self, setup: LearnerSetup, strategy: DeviceStrategy) -> None:
        self.setup, self.strategy = setup, strategy
        settings = setup.settings
        actor = load_actor(setup.policy, strategy)
        if settings.gradient_checkpointing:
            actor.gradient_checkpointing_enable()
        if settings.lora is not None:
            actor.model = attach(actor.model, settings.lora, setup.seed, with_reference=setup.with_reference)
        self.trained = TrainedModel(actor, strategy, learning_rate=settings.learning_rate, steps=setup.policy_steps)
        self.actor: Actor = self.trained.model
        self.reference = self._load_reference() if setup.with_reference and settings.lora is None else None
        self.reference_moved = False
        self.average = None if settings.ema_decay is None else MovingAverage(settings.ema_decay)
        self.add_to_average()
        self.not_shared_because = self._share_prompts()

    @torch.no_grad()
    def logprobs(self, batch: TrainBatch, micros: list[Micro]) -> list[LogProbRows]:
        """Log-probabilities of the sampled tokens at the sampling temperature, one entry per micro-batch.

        Float32 on the CPU, each trimmed to the longest row of its micro-batch.
        """
        self.trained.deepspeed.eval()
        results: list[LogProbRows] = []
        temperature, truncation = self.setup.temperature, self.setup.truncation
        for rows in micros:
            part = rows_on(self.strategy.device, batch, rows)
            kept = None
            if truncation.active:
                policy, kept = token_logprobs_with_kept(self.actor, part, temperature, truncation)
            else:
                policy = token_logprobs(self.actor, part, temperature)
            reference = self.reference_logprobs(part, temperature).cpu() if self.setup.with_reference else None
            if rows:
                results.append((rows, policy.cpu(), reference, None if kept is None else kept.cpu()))
        return results

    def reference_logprobs(self, rows: TrainBatch, temperature: float) -> Tensor:
        """The frozen reference's log-probabilities (b, l) of the sampled tokens."""
        if self.reference is not None:
            return token_logprobs(self.reference, rows, temperature)
        with as_reference(cast(PeftModel, self.trained.module)):
            return token_logprobs(self.actor, rows, temperature)

    def refresh_reference(self) -> None:
        """Copy the current policy into the reference."""
        policy, reference = self._reference_pairs()
        for names in split([(name, elements(value)) for name, value in policy.items()]):
            with gathered([policy[name] for name in names]), self._changing([reference[name] for name in names]):
                for name in names:
                    reference[name].data.copy_(policy[name].data)
        self.reference_moved = True

    def buckets(self, bucket_bytes: int) -> Iterator[Bucket | None]:
        """The weights, in buckets, on rank 0. The other ranks help to gather each bucket and yield None for it."""
        for named in full_weights(self.trained.module, bucket_bytes):
            yield pack(named) if self.strategy.is_rank_0() else None

    def save_policy(self, folder: Path, average: Path | None) -> None:
        """Write weights (safetensors), configuration and tokenizer to `folder`, and the moving average to `average`."""
        weights: dict[str, Tensor] = {}
        for named in full_weights(self.trained.module):
            if self.strategy.is_rank_0():
                weights |= {name: value.to("cpu", copy=True) for name, value in named}
        if self.strategy.is_rank_0():
            write_model(self.trained.module, weights, self.setup.policy.path, folder)
            if average is not None and self.average is not None:
                kept = {name: self.average.values[name].to(value.dtype) for name, value in weights.items()}
                write_model(self.trained.module, kept, self.setup.policy.path, average)
        dist.barrier()

    def save_checkpoint(self, folder: Path) -> None:
        """Write everything needed to resume training bit for bit."""
        self.trained.save(folder / _ENGINE)
        if self.reference_moved:
            self._save_reference(folder / _REFERENCE)
        if self.average is not None and self.strategy.is_rank_0():
            torch.save(self.average.values, folder / _AVERAGE)
        dist.barrier()

    def load_checkpoint(self, folder: Path) -> None:
        """Read what `save_checkpoint` wrote. Raises FileNotFoundError if there is no checkpoint."""
        self.trained.load(folder / _ENGINE)
        if self.setup.with_reference and (folder / _REFERENCE).is_file():
            self._load_saved_reference(folder / _REFERENCE)
        if self.average is not None and self.strategy.is_rank_0():
            self.average.values = torch.load(folder / _AVERAGE)

    def add_to_average(self) -> None:
        """Update the moving average with the current weights, if there is one."""
        if self.average is None:
            return
        for named in full_weights(self.trained.module):
            if self.strategy.is_rank_0():
                self.average.add(named)

    @torch.no_grad()
    def _share_prompts(self) -> str | None:
        """Compute each prompt once for all its responses, if the model supports it; otherwise return why not."""
        if not self.setup.settings.share_prompts:
            return "learner.share_prompts is false"
        self.trained.deepspeed.eval()

        def read(rows: TrainBatch, shared: bool) -> Tensor:
            self.actor.shares_prompts = shared
            return token_logprobs(self.actor, rows, 1.0)

        reason = why_not_shared(read, self.trained.vocabulary, self.setup)
        self.actor.shares_prompts = reason is None
        if self.reference is not None:
            self.reference.shares_prompts = reason is None
        return reason

    def _load_reference(self) -> Actor:
        """A second model, partitioned like the policy under ZeRO-3, otherwise complete in every rank."""
        reference = load_actor(self.setup.policy, self.strategy)
        if self.strategy.stage == 3:
            reference = self.strategy.prepare(reference)
        reference.eval()
        return reference

    def _reference_pairs(self) -> tuple[dict[str, nn.Parameter], dict[str, nn.Parameter]]:
        """The policy's parameters and the reference's, under the same names."""
        module = self.trained.module
        if self.reference is None:
            return adapter_parameters(module, TRAINED), adapter_parameters(module, REFERENCE)
        model = self.reference.model
        frozen = model.module if self.strategy.stage == 3 else model
        return dict(module.named_parameters()), dict(frozen.named_parameters())

    @contextmanager
    def _changing(self, parameters: list[nn.Parameter]) -> Iterator[None]:
        with torch.no_grad(), gathered(parameters, change=True):
            yield

    def _save_reference(self, path: Path) -> None:
        _, reference = self._reference_pairs()
        saved = {}
        for name, value in reference.items():
            with gathered([value]):
                saved[name] = value.detach().to("cpu", copy=True)
        if self.strategy.is_rank_0():
            torch.save(saved, path)

    def _load_saved_reference(self, path: Path) -> None:
        _, reference = self._reference_pairs()
        saved = torch.load(path, mmap=True)
        for name, value in reference.items():
            with self._changing([value]):
                value.data.copy_(saved[name])
        self.reference_moved = True
