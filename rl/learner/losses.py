"""The settings of the loss that an update minimises, checked before anything starts.

The mathematics is OpenRLHF's: `PolicyLoss` for tokens, `DPOLoss` for pairs. `rl.learner.policy` gives `PolicyLoss` the
token and sequence counts of the whole minibatch, so that the step does not depend on how rows are split into ranks and
micro-batches. `PolicyLoss` has two bounds: a log-ratio beyond 20 and a per-token KL beyond 10 are clamped, and have no
gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rl.settings import require


class LossNotFinite(RuntimeError):
    """A loss or a gradient norm is NaN or infinite. The learner's weights must not be used any more."""


@dataclass(frozen=True)
class PolicyLossSettings:
    """A clipped policy-gradient loss with an optional KL term and an optional correction for the sampler's rounding.

    The ratio is exp(log pi - log pi_old) per token, or its geometric mean per sequence (GSPO, arXiv:2507.18071). If the
    batch has no `old_logprobs` and is used for a single step, the ratio is 1 and the gradient is that of REINFORCE.
    """

    clip_low: float = 0.2  # ratios below 1 - clip_low are clipped (PPO, arXiv:1707.06347)
    clip_high: float = 0.2  # ratios above 1 + clip_high are clipped (DAPO's clip-higher sets 0.28)
    dual_clip: float | None = None  # above 1: bounds the loss of negative advantages (arXiv:1912.09729)
    aggregation: Literal["token", "sequence", "constant"] = "token"
    """token: mean over all response tokens of the minibatch. sequence: mean of the sequences' token means.
    constant: sum over tokens / (sequences * constant_length), without length bias (Dr. GRPO, arXiv:2503.20783)."""
    constant_length: int | None = None  # tokens; for aggregation=constant, usually the longest allowed response
    ratio: Literal["token", "sequence"] = "token"
    kl: float = 0.0  # coefficient of the KL to the reference in the loss; 0 leaves it out
    kl_estimator: Literal["k1", "k2", "k3"] = "k3"  # joschu.net/blog/kl-approx.html
    correction: Literal["off", "token", "sequence"] = "off"  # importance weight learner / sampler: see rl/truncation.py
    correction_mode: Literal["clip", "mask"] = "clip"  # clip weights to the band, or mask those outside it
    correction_low: float = 0.5  # the band of acceptable importance weights
    correction_high: float = 5.0

    def __post_init__(self) -> None:
        require(0 <= self.clip_low < 1, f"clip_low must be in [0, 1), not {self.clip_low}")
        require(self.clip_high >= 0, f"clip_high must not be negative, not {self.clip_high}")
        require(self.dual_clip is None or self.dual_clip > 1, f"dual_clip must be above 1, not {self.dual_clip}")
        require(self.kl >= 0, f"kl must not be negative, not {self.kl}")
        require(
            self.aggregation != "constant" or (self.constant_length or 0) > 0,
            "aggregation=constant needs constant_length, in tokens",
        )
        require(
            self.kl == 0 or self.kl_estimator != "k1",
            "kl_estimator=k1 has a gradient of mean zero in the loss: choose k2 or k3",
        )
        require(
            self.ratio == "token" or self.aggregation == "sequence",
            "ratio=sequence (GSPO) needs aggregation=sequence",
        )
        require(
            self.correction_low <= self.correction_high,
            f"correction_low ({self.correction_low}) is above correction_high ({self.correction_high})",
        )
        require(
            self.correction != "sequence" or self.correction_mode == "mask",
            "correction=sequence can only mask: set correction_mode=mask",
        )


@dataclass(frozen=True)
class PreferenceLossSettings:
    """A loss over pairs of responses, one preferred to the other (DPO, arXiv:2305.18290, eq. 7).

    Log-probabilities are summed over a response's tokens, at temperature 1 whatever the sampling temperature. This
    holds for IPO too, for which TRL takes the mean.
    """

    beta: float = 0.1  # how strongly the policy is kept close to the reference; IPO's tau
    label_smoothing: float = 0.0  # assumed share of pairs with swapped labels (cDPO, ericmitchell.ai/cdpo.pdf)
    ipo: bool = False  # the squared loss of IPO (arXiv:2310.12036, eq. 17) instead of the logistic loss
    nll_coefficient: float = 0.0  # weight of the chosen responses' NLL per token (RPO, arXiv:2404.19733); 0: none

    def __post_init__(self) -> None:
        require(self.beta > 0, f"beta must be above 0, not {self.beta}")
        require(
            0 <= self.label_smoothing < 0.5,
            f"label_smoothing must be in [0, 0.5), not {self.label_smoothing}",
        )
        require(
            not (self.ipo and self.label_smoothing),
            "label_smoothing has no meaning with ipo: set one of the two",
        )
        require(self.nll_coefficient >= 0, f"nll_coefficient must not be negative, not {self.nll_coefficient}")


LossSettings = PolicyLossSettings | PreferenceLossSettings
