"""Direct preference optimisation: pairs of responses in, optimizer steps of the policy out (DPO, arXiv:2305.18290).

The maths of a pair is OpenRLHF's `DPOLoss`; the loss is a mean over the minibatch's pairs, however they were cut into
micro-batches and ranks. The reference's log-probabilities are taken once, before the first step. Without a reference
model the policy as it stands before the update is the reference: the iterative recipe (RLHFlow, arXiv:2405.07863), in
which every iteration starts from its own reference, at no cost in memory.
"""

from __future__ import annotations

import math
import time

from rl.learner.strategy import DeviceStrategy  # isort: skip  # imports OpenRLHF in the right order

import torch
from openrlhf.models import DPOLoss
from openrlhf.models.utils import compute_approx_kl
from torch import Tensor
from torch.nn.functional import pad

from rl.learner.batching import Micro, Step
from rl.learner.learner import Learner
from rl.learner.losses import LossNotFinite, PreferenceLossSettings
from rl.learner.model import rows_on, token_logprobs
from rl.learner.setup import LearnerSetup
from rl.types import Preferences, TrainBatch

TEMPERATURE = 1.0
"""DPO is about the policy itself, whatever temperature its responses were drawn at."""

_SUMS = ("loss", "preference_loss", "nll", "accuracy", "chosen_reward", "rejected_reward", "kl")


class PreferenceLearner(Learner):
    """Learns from `Preferences` by `PreferenceLossSettings`. Every method is collective."""

    def __init__(self, setup: LearnerSetup, strategy: DeviceStrategy) -> None:
        super().__init__(setup, strategy)
        assert isinstance(setup.loss, PreferenceLossSettings)
        self.loss = setup.loss
        self.pair_loss = DPOLoss(setup.loss.beta, setup.loss.label_smoothing, setup.loss.ipo)

    def update(self, pairs: Preferences, steps: list[Step]) -> dict[str, float]:
        """Take these optimizer steps, whose rows are pairs, and return the update's metrics, equal on all ranks.

        Raises LossNotFinite where a loss or a gradient norm is not a number.
        """
        started = time.perf_counter()
        both = stacked(pairs)
        first_epoch = steps[: len(steps) // self.setup.settings.epochs]
        rank = self.strategy.get_rank()
        both.reference_logprobs = self._reference(both, [rows for step in first_epoch for rows in step.micros[rank]])
        self.engine.deepspeed.train()
        reports = [self._step(both, step) for step in steps]
        self.add_to_average()
        return {name: sum(report[name] for report in reports) / len(reports) for name in reports[0]} | {
            "learning_rate": self.engine.learning_rate,
            "pairs": float(len(pairs.chosen)),
            "tokens": float(sum(step.tokens for step in steps)),
            "steps": float(len(steps)),
            "seconds": time.perf_counter() - started,
        }

    @torch.no_grad()
    def _reference(self, both: TrainBatch, micros: list[Micro]) -> Tensor:
        """The reference's log-probabilities (2P, L) of all pairs, each rank asking for its share of them."""
        self.engine.deepspeed.eval()
        whole = torch.zeros(both.input_ids.shape)
        for rows in micros:
            part = rows_on(self.strategy.device, both, _pair_rows(both, rows))
            if self.setup.with_reference:
                values = self.reference_logprobs(part, TEMPERATURE)
            else:
                values = token_logprobs(self.actor, part, TEMPERATURE)
            if rows:
                whole[_pair_rows(both, rows), : values.shape[1]] = values.cpu()
        return self.strategy.sum_tensor(whole)

    def _step(self, both: TrainBatch, step: Step) -> dict[str, float]:
        """One optimizer step over this rank's micro-batches of pairs."""
        micros = step.micros[self.strategy.get_rank()]
        totals = dict.fromkeys(_SUMS, 0.0)
        for index, rows in enumerate(micros):
            loss, sums = self._micro_loss(both, rows)
            self.engine.backward(loss * self.strategy.world_size / step.rows, last=index == len(micros) - 1)
            for name, value in sums.items():
                totals[name] += value
        summed = dict(zip(totals, self.strategy.sum_over_ranks(list(totals.values())), strict=True))
        means = {name: value / step.rows for name, value in summed.items()}
        if not math.isfinite(means["loss"]):
            raise LossNotFinite(f"the loss is not finite ({means['loss']}); the step was not taken")
        means["kl"] = summed["kl"] / max(1, step.tokens)
        return means | {"margin": means["chosen_reward"] - means["rejected_reward"], "grad_norm": self.engine.step()}

    def _micro_loss(self, both: TrainBatch, rows: Micro) -> tuple[Tensor, dict[str, float]]:
        """The sum of these pairs' losses, and the sums for the metrics."""
        part = rows_on(self.strategy.device, both, _pair_rows(both, rows))
        current = token_logprobs(self.actor, part, TEMPERATURE)
        if not rows:  # nothing to learn, but all ranks go backward together
            return current.sum() * 0, {}
        count, mask = len(rows), part.response_mask
        assert part.reference_logprobs is not None
        chosen, rejected = current.sum(dim=1).split(count)
        pair, chosen_reward, rejected_reward = self.pair_loss(
            chosen, rejected, *part.reference_logprobs.sum(dim=1).split(count)
        )
        surprise = -(chosen / mask[:count].sum(dim=1).clamp(min=1)).sum()
        loss = pair * count
        if self.loss.nll_coefficient:
            loss = loss + self.loss.nll_coefficient * surprise
        divergence = compute_approx_kl(current.detach(), part.reference_logprobs, kl_estimator="k3")
        sums = {
            "loss": loss,
            "preference_loss": pair * count,
            "nll": surprise,
            "accuracy": (chosen_reward > rejected_reward).sum(),
            "chosen_reward": chosen_reward.sum(),
            "rejected_reward": rejected_reward.sum(),
            "kl": (divergence * mask).sum(),
        }
        return loss, {name: float(value.detach()) for name, value in sums.items()}


def stacked(pairs: Preferences) -> TrainBatch:
    """All chosen rows, then all rejected ones, (2P, L), with nothing but their tokens and masks."""
    length = max(side.input_ids.shape[1] for side in (pairs.chosen, pairs.rejected))

    def together(name: str) -> Tensor:
        sides = [getattr(side, name) for side in (pairs.chosen, pairs.rejected)]
        return torch.cat([pad(side, (0, length - side.shape[1])) for side in sides])

    names = ("input_ids", "attention_mask", "response_mask", "behaviour_logprobs")
    return TrainBatch(**{name: together(name) for name in names})


def _pair_rows(both: TrainBatch, pairs: Micro) -> list[int]:
    """The rows of these pairs in the stacked batch, the chosen ones first."""
    return [*pairs, *(pair + len(both) // 2 for pair in pairs)]
