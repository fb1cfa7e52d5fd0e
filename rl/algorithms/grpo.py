"""GRPO: the group is the baseline (DeepSeekMath, arXiv:2402.03300).

The advantage of every token of a response is the response's reward minus its group's mean over its group's standard
deviation (outcome supervision, section 4.1.2); the loss is PPO's clipped one plus a k3 estimate of the KL to the
reference (eq. 3 and 4). Left out: process supervision by step-wise normalisation (section 4.1.3), and iterating with a
refreshed reward model (section 4.1.4). One difference: the loss is a mean over all tokens of the minibatch, as later
work advises (DAPO, arXiv:2503.14476), where the paper takes the mean of each response's mean; `aggregation` chooses.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from rl.algorithms import Algorithm
from rl.algorithms.rows import with_scores
from rl.credit.groups import group_advantages, on_every_token, values_of
from rl.learner.losses import PolicyLossSettings
from rl.types import Prepared, Scored


@dataclass(frozen=True)
class GRPO(Algorithm):
    """Group-relative policy optimisation."""

    kl: float = 0.05  # coefficient of the KL to the reference in the loss; 0 leaves the reference out
    kl_estimator: Literal["k2", "k3"] = "k3"
    clip_low: float = 0.2
    clip_high: float = 0.2
    normalise_std: bool = True  # divide by the group's standard deviation
    aggregation: Literal["token", "sequence"] = "token"

    def __post_init__(self) -> None:
        self.loss()  # its settings check themselves

    @property
    def needs_reference(self) -> bool:
        """The reference is only for the KL."""
        return self.kl > 0

    @property
    def group_relative(self) -> bool:
        """A group of one has no baseline."""
        return True

    def loss(self) -> PolicyLossSettings:
        """Clipped ratio, plus the KL."""
        return PolicyLossSettings(
            clip_low=self.clip_low,
            clip_high=self.clip_high,
            aggregation=self.aggregation,
            kl=self.kl,
            kl_estimator=self.kl_estimator,
        )

    def prepare(self, scored: Scored) -> Prepared:
        """The scored rows, with one advantage a response on each of its tokens."""
        values, mask = values_of(scored.scores)
        advantages = group_advantages(values, mask, self.normalise_std).flatten()
        batch = replace(scored.batch, advantages=on_every_token(advantages, scored.batch.response_mask))
        return Prepared(with_scores(batch, scored.scores))
