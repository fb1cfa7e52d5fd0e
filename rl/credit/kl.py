"""The KL between the policy and its reference, per token, and an adaptive coefficient that controls it.

The KL can be in the reward, as a penalty on each token (`PolicyGradient.kl_price` in rl.algorithms.policy_gradient), or
in the loss (`rl.learner.policy`). A loss over pairs has no KL term: DPO's beta takes its place, and the KL is only
measured (`rl.learner.preference`).
"""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor

Estimator = Literal["k1", "k2", "k3"]

BOUND = 10.0
"""Estimates are clamped to +-BOUND, as in OpenRLHF."""

MAX_RELATIVE_ERROR = 0.2
"""Ziegler et al. clip the relative error of the measured KL to this."""


def kl_estimate(policy_logprobs: Tensor, reference_logprobs: Tensor, estimator: Estimator) -> Tensor:
    """KL(policy || reference) of each sampled token from its two log-probabilities, in nats.

    Both (B, L), returns (B, L), 0 where they are equal (outside the response both are 0). With d = log policy - log
    reference (joschu.net/blog/kl-approx): k1 = d, unbiased, may be negative; k2 = d^2 / 2, biased, low variance;
    k3 = exp(-d) - 1 + d, unbiased, never negative. Clamped to [-10, 10] as in OpenRLHF's `compute_approx_kl`. Raises
    ValueError for any other estimator.
    """
    difference = policy_logprobs - reference_logprobs
    if estimator == "k1":
        estimate = difference
    elif estimator == "k2":
        estimate = difference.square() / 2
    elif estimator == "k3":
        bounded = difference.clamp(min=-BOUND)  # beyond, k3 is far above the bound and exp would overflow
        estimate = (-bounded).exp() - 1 + bounded
    else:
        raise ValueError(f"the KL estimator must be k1, k2 or k3, not {estimator!r}")
    return estimate.clamp(min=-BOUND, max=BOUND)


class AdaptiveKL:
    """A coefficient that keeps the KL near a target (Ziegler et al., arXiv:1909.08593, section 2.2).

    initial: the first coefficient. target: the desired KL, in the unit passed to `update` (their 6 nats are per whole
    response; a mean over tokens needs a target per token). horizon: in samples (theirs is 10000); while the error is at
    its bound, the coefficient changes by a fifth per horizon. With e = clip(KL / target - 1, -0.2, 0.2), the
    coefficient is multiplied by 1 + e n / horizon, as in OpenRLHF's `AdaptiveKLController`; the paper's K_beta = 0.1
    is n / horizon. Raises ValueError for numbers that are not above 0.
    """

    def __init__(self, initial: float, target: float, horizon: float) -> None:
        for name, number in (("initial", initial), ("target", target), ("horizon", horizon)):
            if not (number > 0 and math.isfinite(number)):
                raise ValueError(f"the adaptive KL coefficient's {name} must be above 0, not {number}")
        self.coefficient = float(initial)
        self.target = target
        self.horizon = horizon

    def update(self, measured_kl: float, n: int) -> None:
        """Move the coefficient after `n` samples with this mean KL. Raises ValueError for a KL that is not finite."""
        if not math.isfinite(measured_kl):
            raise ValueError(f"the measured KL is {measured_kl}: the coefficient cannot follow it")
        error = min(max(measured_kl / self.target - 1, -MAX_RELATIVE_ERROR), MAX_RELATIVE_ERROR)
        # max: with a batch of more than 5 horizons and an error of -0.2, the coefficient would turn negative
        self.coefficient *= max(1 + error * n / self.horizon, 0.1)

    def state(self) -> dict[str, float]:
        """The state to save in a checkpoint."""
        return {"coefficient": self.coefficient}

    def load(self, state: dict[str, float]) -> None:
        """Restore the result of `state()`."""
        self.coefficient = float(state["coefficient"])
