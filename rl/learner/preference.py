"""Direct preference optimisation: train the policy on pairs of responses (DPO, arXiv:2305.18290).

The loss of a pair is OpenRLHF's `DPOLoss`. The loss of a step is the mean over the minibatch's pairs, however they are
split into ranks and micro-batches. A response that is in several pairs of a pass is computed once. Without a reference
model, the policy before the update is the reference. This is the iterative recipe (RLHFlow, arXiv:2405.07863), in which
every iteration has its own reference. It costs no memory, and a single step then needs no second pass either.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace

from rl.learner.strategy import DeviceStrategy  # isort: skip  # imports OpenRLHF in the right order

import torch
from openrlhf.models import DPOLoss
from openrlhf.models.utils import compute_approx_kl
from torch import Tensor

from rl.learner.batching import Micro, Step, rows_of
from rl.learner.learner import Learner
from rl.learner.losses import LossNotFinite, PreferenceLossSettings
from rl.learner.model import rows_on, token_logprobs
from rl.learner.setup import LearnerSetup
from rl.types import Preferences, TrainBatch

TEMPERATURE = 1.0
"""DPO trains the policy itself, whatever temperature its responses were drawn at."""

_SUMS = ("loss", "preference_loss", "nll", "accuracy", "chosen_reward", "rejected_reward", "kl", "gap", "gap_tokens")


class PreferenceLearner(Learner):
    """Learns from `Preferences` by `PreferenceLossSettings`. Every method is collective."""

    def __init__(self, setup: LearnerSetup, strategy: DeviceStrategy) -> None:
        super().__init__(setup, strategy)
        assert isinstance(setup.loss, PreferenceLossSettings)
        self.loss = setup.loss
        self.pair_loss = DPOLoss(setup.loss.beta, setup.loss.label_smoothing, setup.loss.ipo)

    def update(self, pairs: Preferences, steps: list[Step]) -> dict[str, float]:
        """Take these optimizer steps over pairs and return the update's metrics, which are the same on all ranks.

        Raises LossNotFinite if a loss or a gradient norm is not finite.
        """
        started = time.perf_counter()
        if len(steps) > 1:
            pairs = self._with_reference(pairs, steps[: len(steps) // self.setup.settings.epochs])
        self.trained.deepspeed.train()
        reports = [self._step(pairs, step) for step in steps]
        self.add_to_average()
        means = {name: sum(report[name] for report in reports) / len(reports) for name in reports[0]}
        gap = {name: means.pop(name) for name in ("gap_mean", "gap_max")}
        if self.setup.temperature == TEMPERATURE and not self.setup.truncation.active:  # otherwise not comparable
            means |= {name: reports[0][name] for name in gap}
        return means | {
            "learning_rate": self.trained.learning_rate,
            "pairs": float(len(pairs)),
            "tokens": float(sum(step.tokens for step in steps)),
            "steps": float(len(steps)),
            "seconds": time.perf_counter() - started,
        }

    @torch.no_grad()
    def _with_reference(self, pairs: Preferences, epoch: list[Step]) -> Preferences:
        """The pairs with the reference's log-probabilities of all their rows. Each rank computes its share of them."""
        self.trained.deepspeed.eval()
        batch, rank = pairs.batch, self.strategy.get_rank()
        whole, visits = torch.zeros(batch.input_ids.shape), torch.zeros(len(batch), 1)
        for micro in [micro for step in epoch for micro in step.micros[rank]]:
            rows = rows_of(pairs, micro)
            values = self._reference(rows_on(self.strategy.device, batch, rows))
            if rows:
                whole[rows, : values.shape[1]] += values.cpu()
                visits[rows] += 1
        found = self.strategy.sum_tensor(whole) / self.strategy.sum_tensor(visits).clamp(min=1)
        return replace(pairs, batch=replace(batch, reference_logprobs=found))

    def _reference(self, rows: TrainBatch) -> Tensor:
        """The frozen reference's log-probabilities (b, l), or the current policy's if there is no reference model."""
        if self.setup.with_reference:
            return self.reference_logprobs(rows, TEMPERATURE)
        return token_logprobs(self.actor, rows, TEMPERATURE)

    def _step(self, pairs: Preferences, step: Step) -> dict[str, float]:
        """Take one optimizer step over this rank's micro-batches of pairs."""
        micros = step.micros[self.strategy.get_rank()]
        totals, gap_max = dict.fromkeys(_SUMS, 0.0), 0.0
        for index, micro in enumerate(micros):
            loss, sums = self._micro_loss(pairs, micro)
            gap_max = max(gap_max, sums.pop("gap_max", 0.0))
            self.trained.backward(loss * self.strategy.world_size / step.rows, last=index == len(micros) - 1)
            for name, value in sums.items():
                totals[name] += value
        summed = dict(zip(totals, self.strategy.sum_over_ranks(list(totals.values())), strict=True))
        means = {name: value / step.rows for name, value in summed.items()}
        if not math.isfinite(means["loss"]):
            raise LossNotFinite(f"the loss is not finite ({means['loss']}); the step was not taken")
        means["kl"] = summed["kl"] / max(1, step.tokens)
        del means["gap"], means["gap_tokens"]
        means["gap_mean"] = summed["gap"] / max(1.0, summed["gap_tokens"])
        means["gap_max"] = self.strategy.max_over_ranks(gap_max)
        return means | {"margin": means["chosen_reward"] - means["rejected_reward"], "grad_norm": self.trained.step()}

    def _micro_loss(self, pairs: Preferences, micro: Micro) -> tuple[Tensor, dict[str, float]]:
        """The sum of these pairs' losses, and sums for the metrics."""
        rows = rows_of(pairs, micro)
        part = rows_on(self.strategy.device, pairs.batch, rows)
        reference = part.reference_logprobs
        if reference is None and self.setup.with_reference:
            with torch.no_grad():
                reference = self.reference_logprobs(part, TEMPERATURE)
        current = token_logprobs(self.actor, part, TEMPERATURE)
        if not micro:  # nothing to learn from, but all ranks must run the backward pass together
            return current.sum() * 0, {}
        if reference is None:  # a single step: the policy before it is the reference
            reference = current.detach()
        places = {row: place for place, row in enumerate(rows)}
        better, worse = (
            torch.tensor([places[row] for row in side[micro].tolist()], device=current.device)
            for side in (pairs.chosen, pairs.rejected)
        )
        now, then, lengths = current.sum(dim=1), reference.sum(dim=1), part.response_mask.sum(dim=1)
        pair, chosen_reward, rejected_reward = self.pair_loss(now[better], now[worse], then[better], then[worse])
        count = len(micro)
        surprise = -(now[better] / lengths[better].clamp(min=1)).sum()
        loss = pair * count
        if self.loss.nll_coefficient:
            loss = loss + self.loss.nll_coefficient * surprise
        kl = (compute_approx_kl(current.detach(), reference, kl_estimator="k3") * part.response_mask).sum(dim=1)
        gap = (part.behaviour_logprobs - current.detach()).abs() * part.response_mask
        sums = {
            "loss": loss,
            "preference_loss": pair * count,
            "nll": surprise,
            "accuracy": (chosen_reward > rejected_reward).sum(),
            "chosen_reward": chosen_reward.sum(),
            "rejected_reward": rejected_reward.sum(),
            "kl": kl[better].sum() + kl[worse].sum(),
            "gap": gap.sum(),
            "gap_tokens": lengths.sum(),
            "gap_max": gap.max(),
        }
        return loss, {name: float(value.detach()) for name, value in sums.items()}
