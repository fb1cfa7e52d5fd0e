"""What every learner rank is told when it starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rl.learner.losses import LossSettings, PolicyLossSettings, PreferenceLossSettings
from rl.policy import check_policy
from rl.settings import CriticSettings, LearnerSettings, PolicySettings, require
from rl.truncation import ALL_TOKENS, Truncation


@dataclass(frozen=True)
class LearnerSetup:
    """The models, the loss and the length of the run, checked together. Raises ValueError for what contradicts."""

    policy: PolicySettings
    settings: LearnerSettings
    loss: LossSettings
    device: Literal["cpu", "cuda"]
    temperature: float
    with_reference: bool
    total_updates: int
    seed: int
    critic: CriticSettings | None = None
    truncation: Truncation = ALL_TOKENS

    def __post_init__(self) -> None:
        pairs = isinstance(self.loss, PreferenceLossSettings)
        require(
            self.critic is None or not pairs, "a critic is of no use with a loss over preference pairs: leave it out"
        )
        require(
            not isinstance(self.loss, PolicyLossSettings) or self.loss.kl == 0 or self.with_reference,
            "loss.kl is above 0, but no reference policy was asked for",
        )
        require(
            self.settings.warmup_updates <= self.policy_steps,
            f"learner.warmup_updates is {self.settings.warmup_updates}, but the run has only {self.policy_steps} "
            "optimizer steps",
        )
        require(
            self.policy_steps > 0,
            f"critic.warmup_updates leaves the policy none of the run's {self.total_updates} updates: lower it",
        )

    @property
    def critic_steps(self) -> int:
        """Optimizer steps of the whole run."""
        return self.total_updates * self.settings.epochs * self.settings.minibatches

    @property
    def policy_steps(self) -> int:
        """Optimizer steps of the policy: those after the critic's warm-up."""
        waiting = self.critic.warmup_updates if self.critic else 0
        return (self.total_updates - waiting) * self.settings.epochs * self.settings.minibatches


def check_critic(critic: CriticSettings, policy: PolicySettings) -> None:
    """Refuse a critic that cannot read the policy's tokens, before any process starts.

    Raises FileNotFoundError or ValueError, naming critic.path.
    """
    if critic.path is None or critic.path == policy.path:
        return
    from transformers import AutoTokenizer

    check_policy(critic.path, "critic.path")
    mine = AutoTokenizer.from_pretrained(policy.path).get_vocab()
    theirs = AutoTokenizer.from_pretrained(critic.path).get_vocab()
    strange = [token for token, number in mine.items() if theirs.get(token) != number]
    require(
        not strange,
        f"critic.path: {critic.path} has another vocabulary than the policy ({len(strange)} tokens differ, "
        f"{strange[0] if strange else ''!r} for one): choose a model of the policy's family, or null",
    )
