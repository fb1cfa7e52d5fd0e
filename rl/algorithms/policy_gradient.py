"""Shared by GRPO's family and PPO: the clipped loss, and the KL to the reference, in the loss or in the reward.

A KL in the loss adds a gradient that pulls every token towards the reference (DeepSeekMath, arXiv:2402.03300, eq. 4). A
KL in the reward is a penalty on each sampled token (Ziegler et al., arXiv:1909.08593, eq. 2), with a fixed coefficient
or one that steers the KL to a target.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from rewards.options import require_read
from rl.algorithms import Algorithm
from rl.credit.kl import AdaptiveKL, kl_estimate
from rl.learner.losses import PolicyLossSettings
from rl.settings import require
from rl.types import TrainBatch


@dataclass(frozen=True)
class PolicyGradient(Algorithm):
    """Base class of algorithms that give every token an advantage. See `PolicyLossSettings` for the loss options.

    Raises ValueError, naming the option, for a combination that cannot work.
    """

    clip_low: float = 0.2
    clip_high: float = 0.2
    dual_clip: float | None = None
    aggregation: Literal["token", "sequence", "constant"] = "token"
    constant_length: int | None = None
    ratio: Literal["token", "sequence"] = "token"
    kl: float = 0.05  # coefficient of the KL to the reference; 0 leaves the reference out
    kl_in: Literal["loss", "reward"] = "loss"
    kl_estimator: Literal["k1", "k2", "k3"] = "k3"
    kl_target: float | None = None  # nats per response: adapts the coefficient, starting at `kl`
    kl_horizon: int = 10_000  # responses; larger adapts more slowly
    correction: Literal["off", "token", "sequence"] = "off"
    correction_mode: Literal["clip", "mask"] = "clip"
    correction_low: float = 0.5
    correction_high: float = 5.0
    mask_cut: bool = False  # leave responses that were cut at the length limit out of the loss
    _controller: AdaptiveKL | None = field(init=False, default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        require(self.kl >= 0, f"kl must not be negative, not {self.kl}")
        require(
            self.kl_estimator != "k1" or self.kl_in == "reward" or self.kl == 0,
            "kl_estimator=k1 has a gradient of mean zero in the loss: choose k2 or k3, or set kl_in=reward",
        )
        self.loss()  # it checks its own options, which have the same names here
        for name in ("correction_mode", "correction_low", "correction_high"):
            require_read(self, name, self.correction != "off", "correction=token or sequence")
        require_read(self, "constant_length", self.aggregation == "constant", "aggregation=constant")
        require_read(self, "kl_horizon", self.kl_target is not None, "kl_target")
        require(self.kl_horizon > 0, f"kl_horizon must be above 0, not {self.kl_horizon}")
        if self.kl_target is not None:
            require(
                self.kl_in == "reward" and self.kl > 0,
                "kl_target steers a KL in the reward: set kl_in=reward and kl above 0",
            )
            controller = AdaptiveKL(self.kl, self.kl_target, float(self.kl_horizon))
            object.__setattr__(self, "_controller", controller)

    @property
    def needs_reference(self) -> bool:
        """The reference is used only for the KL."""
        return self.kl > 0

    @property
    def needs_old_logprobs(self) -> bool:
        """Only for a KL in the reward, which is paid before the update."""
        return self.kl > 0 and self.kl_in == "reward"

    @property
    def corrects_age(self) -> bool:
        """Only with an importance weight."""
        return self.correction != "off"

    def loss(self) -> PolicyLossSettings:
        """The clipped loss, plus the KL if it is in the loss."""
        in_loss = self.kl_in == "loss"
        return PolicyLossSettings(
            clip_low=self.clip_low,
            clip_high=self.clip_high,
            dual_clip=self.dual_clip,
            aggregation=self.aggregation,
            constant_length=self.constant_length,
            ratio=self.ratio,
            kl=self.kl if in_loss else 0.0,
            kl_estimator=self.kl_estimator if in_loss else "k3",
            correction=self.correction,
            correction_mode=self.correction_mode,
            correction_low=self.correction_low,
            correction_high=self.correction_high,
        )

    def kl_price(self, batch: TrainBatch, rows: Tensor) -> tuple[Tensor, dict[str, float]]:
        """The KL penalty of each token, (B, L) >= 0 on average, and metrics; zeros without a KL in the reward.

        `rows` (B,) bool: the rows that count for the measured KL (nats per response, k1), which adapts the coefficient
        for the next update.
        """
        if self.kl_in == "loss" or self.kl == 0:
            return torch.zeros_like(batch.behaviour_logprobs), {}
        if batch.old_logprobs is None or batch.reference_logprobs is None:
            raise ValueError("a KL in the reward needs the log-probabilities of policy and reference")
        coefficient = self.kl if self._controller is None else self._controller.coefficient
        estimate = kl_estimate(batch.old_logprobs, batch.reference_logprobs, self.kl_estimator)
        measured = kl_estimate(batch.old_logprobs, batch.reference_logprobs, "k1")[rows].sum(dim=1)
        metrics = {"kl_coefficient": coefficient, "kl_of_response": float(measured.mean()) if len(measured) else 0.0}
        if self._controller is not None and len(measured):
            self._controller.update(metrics["kl_of_response"], len(measured))
        return coefficient * estimate * batch.response_mask, metrics

    def state(self) -> dict[str, Any]:
        """The adaptive coefficient, if there is one."""
        return {} if self._controller is None else self._controller.state()

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore the checkpoint's coefficient."""
        if self._controller is None:
            super().load_state(state)
        else:
            self._controller.load(state)
