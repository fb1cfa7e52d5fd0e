"""PPO with a learned critic as the baseline of every token (arXiv:1707.06347).

A response's reward is on its last token, or each step's score is on the step's last token, as in Math-Shepherd's step
by step PPO (arXiv:2312.08935, section 3.4). Rewards minus the KL penalty go through generalised advantage estimation
(arXiv:1506.02438, eq. 16); the critic regresses on advantage plus value, with clipped values. Left out: an entropy
bonus, which RLHF does not need, and bootstrapping beyond a truncated response, which ends like any other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor

from rewards.options import require_read
from rl.algorithms.policy_gradient import PolicyGradient
from rl.algorithms.row_selection import learnt_rows, scored_rows
from rl.credit.groups import batch_whitened, values_of
from rl.credit.returns import gae, on_last_token
from rl.credit.steps import StepRewards, centred, clip, delta, min_form, on_step_tokens
from rl.settings import CriticSettings, require
from rl.types import Prepared, Scored

OWN_CRITIC = CriticSettings()
"""A critic that starts from the policy's weights."""


@dataclass(frozen=True)
class PPO(PolicyGradient):
    """Proximal policy optimisation.

    credit: `outcome` puts a response's score on its last token, `steps` each step's score on the step's last token.
    shaping: a transform of step scores. `delta`: r_k - r_{k+1}; `clip`: min(r - clip_eta, 0); `clip_delta`: both
    (Gao et al., arXiv:2410.15115); `min_form`: weighted by softmax(-r / min_form_temperature) (PURE, arXiv:2504.15275).
    """

    kl: float = 0.02
    kl_in: Literal["loss", "reward"] = "reward"
    kl_estimator: Literal["k1", "k2", "k3"] = "k1"
    critic: CriticSettings = OWN_CRITIC
    gamma: float = 1.0
    lam: float = 0.95  # GAE's lambda: 1 uses the rewards alone, 0 the critic one token ahead
    whiten: bool = True  # normalise advantages to mean 0 and standard deviation 1 over the batch
    credit: Literal["outcome", "steps"] = "outcome"
    centre: bool = False  # steps: P(right) - P(wrong) = 2 p - 1, in [-1, 1], for p
    shaping: Literal["none", "delta", "clip", "clip_delta", "min_form"] = "none"
    clip_eta: float = 0.5  # steps: a step scored above this costs nothing; no step earns anything
    min_form_temperature: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.gamma <= 1, f"gamma must be in [0, 1], not {self.gamma}")
        require(0 <= self.lam <= 1, f"lam must be in [0, 1], not {self.lam}")
        require(self.min_form_temperature > 0, "min_form_temperature must be above 0")
        require(
            self.credit == "steps" or (self.shaping == "none" and not self.centre),
            "shaping and centre change step scores: set credit=steps, or leave them out",
        )
        clips = self.shaping in ("clip", "clip_delta")
        require_read(self, "clip_eta", clips, "shaping=clip or clip_delta")
        require_read(self, "min_form_temperature", self.shaping == "min_form", "shaping=min_form")

    @property
    def needs_steps(self) -> bool:
        """Only if credit goes to steps."""
        return self.credit == "steps"

    @property
    def needs_old_logprobs(self) -> bool:
        """The critic's values come with them."""
        return True

    def prepare(self, scored: Scored) -> Prepared:
        """The scored rows, with advantages and returns on each of their tokens."""
        batch, rows = scored.batch, scored_rows(scored.scores)
        if batch.values is None:
            raise ValueError("PPO needs the critic's values")
        earned, metrics = self._earned(scored)
        price, of_kl = self.kl_price(batch, rows)
        advantages, returns = gae(earned - price, batch.values, batch.response_mask, self.gamma, self.lam)
        present = batch.response_mask & rows[:, None]
        metrics |= of_kl | {"value_mean": _mean(batch.values[present]), "return_mean": _mean(returns[present])}
        if self.whiten:
            advantages = batch_whitened(advantages, present)
        learnt, of_cut = learnt_rows(replace(batch, advantages=advantages, returns=returns), scored, self.mask_cut)
        return Prepared(learnt, metrics | of_cut)

    def _earned(self, scored: Scored) -> tuple[Tensor, dict[str, float]]:
        """The reward of each token before the KL penalty, (B, L), and metrics."""
        if self.credit == "outcome":
            values, _ = values_of(scored.scores)
            return on_last_token(values.flatten(), scored.batch.response_mask), {}
        steps = scored.placed_steps()
        earned = on_step_tokens(self._shaped(steps), scored.batch.response_mask.shape)
        total = earned.sum(dim=1)[scored_rows(scored.scores)]
        return earned, steps.counts() | {"steps_earned": float(total.mean())}

    def _shaped(self, steps: StepRewards) -> StepRewards:
        """The step scores after centring and shaping."""
        steps = centred(steps) if self.centre else steps
        if self.shaping in ("clip", "clip_delta"):
            steps = clip(steps, self.clip_eta)
        if self.shaping in ("delta", "clip_delta"):
            steps = delta(steps)
        return min_form(steps, self.min_form_temperature) if self.shaping == "min_form" else steps


def _mean(numbers: Tensor) -> float:
    return float(numbers.mean()) if len(numbers) else 0.0
