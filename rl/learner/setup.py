"""The arguments that every learner rank gets when it starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rl.learner.losses import LossSettings, PolicyLossSettings, PreferenceLossSettings
from rl.policy import check_policy
from rl.settings import CriticSettings, LearnerSettings, PolicySettings, require
from rl.truncation import ALL_TOKENS, Truncation


@dataclass(frozen=True)
class LearnerSetup:
    """The models, the loss and the length of the run. Raises ValueError if they contradict each other."""

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
            self.critic is None or not pairs, "a loss over preference pairs does not use a critic: remove the critic"
        )
        require(
            not isinstance(self.loss, PolicyLossSettings) or self.loss.kl == 0 or self.with_reference,
            "loss.kl is above 0, but the learner has no reference policy",
        )
        require(
            self.settings.warmup_updates <= self.policy_steps,
            f"learner.warmup_updates is {self.settings.warmup_updates}, but the run has only {self.policy_steps} "
            "optimizer steps",
        )
        require(
            self.policy_steps > 0,
            f"critic.warmup_updates leaves none of the run's {self.total_updates} updates to the policy: lower it",
        )

    @property
    def critic_steps(self) -> int:
        """The critic's optimizer steps: all those of the run."""
        return self.total_updates * self.settings.epochs * self.settings.minibatches

    @property
    def policy_steps(self) -> int:
        """The policy's optimizer steps: those after the critic's warm-up."""
        waiting = self.critic.warmup_updates if self.critic else 0
        return (self.total_updates - waiting) * self.settings.epochs * self.settings.minibatches


def check_critic(critic: CriticSettings, policy: PolicySettings) -> None:
    """Check, before any process starts, that the critic has the policy's vocabulary.

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
        f"critic.path: the vocabulary of {critic.path} is not the policy's ({len(strange)} tokens differ, for example "
        f"{strange[0] if strange else ''!r}): choose a model of the policy's family, or null",
    )
