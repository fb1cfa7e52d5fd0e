"""GRPO and its family: the group is the baseline, there is no critic (DeepSeekMath, arXiv:2402.03300).

The advantage of every token of a response is the response's reward minus a baseline, divided by a scale. The loss is
PPO's clipped loss, with a KL to the reference in the loss (eq. 3 and 4) or in the reward. The options give the
variants: RLOO, Dr. GRPO, DAPO, REINFORCE++, GSPO and PURE are files in `configs/algorithm/`, each listing its
differences. Left out: iterating with a refreshed reward model (section 4.1.4). One difference: by default the loss is a
mean over all tokens of the minibatch, as DAPO advises; the paper takes the mean of each response's mean
(`aggregation`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from rewards.options import require_read
from rewards.shaping import overlong_penalty
from rl.algorithms.policy_gradient import PolicyGradient
from rl.algorithms.row_selection import learnt_rows, scored_rows
from rl.credit.groups import (
    batch_whitened,
    counts,
    group_advantages,
    leave_one_out,
    normalise_each,
    on_every_token,
    parts_of,
    values_of,
)
from rl.credit.returns import discounted_returns
from rl.credit.steps import StepRewards, centred, min_form_advantages, process_normalised
from rl.settings import require
from rl.types import Prepared, Scored


@dataclass(frozen=True)
class GRPO(PolicyGradient):
    """Group-relative policy optimisation.

    credit: `outcome` puts the score of a response on all its tokens. `steps` is DeepSeekMath's process supervision
    (section 4.1.3): all step scores of a group are normalised together, and a token gets the sum over its own and later
    steps. `min_form` is PURE's (arXiv:2504.15275): approximately the worst step still to come, with a per-token
    baseline from the other responses.
    objectives: parts of the score, with weights, each normalised within the group (GDPO, arXiv:2601.05242). With
    credit=outcome they replace the score's value; with steps or min_form they are added to the step credit.
    """

    baseline: Literal["mean", "leave_one_out", "none"] = "mean"  # subtracted from a reward
    scale: Literal["group", "batch", "none"] = "group"  # whose standard deviation divides it
    credit: Literal["outcome", "steps", "min_form"] = "outcome"
    min_form_temperature: float = 0.1  # of the softmax over steps; towards 0 only the worst step counts
    objectives: dict[str, float] | None = None
    overlong_buffer: int = 0  # tokens before overlong_limit over which a penalty falls to -1 (DAPO, eq. 13); 0: none
    overlong_limit: int | None = None  # tokens
    dynamic_sampling: int = 0  # extra draws per update to replace groups with equal scores (DAPO, eq. 11)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.dynamic_sampling >= 0, "dynamic_sampling must not be negative")
        require(self.min_form_temperature > 0, "min_form_temperature must be above 0")
        require_read(self, "min_form_temperature", self.credit == "min_form", "credit=min_form")
        require_read(self, "overlong_limit", self.overlong_buffer > 0, "overlong_buffer above 0")
        require(
            self.scale != "group" or self.baseline == "mean",
            f"scale=group divides by the deviation from the mean: set baseline=mean or scale=none, not "
            f"baseline={self.baseline}",
        )
        group = (self.baseline, self.scale) == ("mean", "group")
        require(
            self.credit != "steps" or group,
            "credit=steps normalises the steps of a group together: it needs baseline=mean and scale=group",
        )
        require(
            self.credit != "min_form" or self.baseline == "leave_one_out",
            "credit=min_form has a baseline from the other responses: it needs baseline=leave_one_out, "
            "scale=none or batch",
        )
        require(
            self.objectives is None or self.credit != "outcome" or group,
            "objectives are normalised in the group: they need baseline=mean and scale=group",
        )
        require(self.objectives is None or len(self.objectives) > 0, "objectives is empty: null leaves it out")
        require(
            0 <= self.overlong_buffer <= (self.overlong_limit or 0),
            f"overlong_buffer={self.overlong_buffer} must be between 0 and overlong_limit="
            f"{self.overlong_limit}, both in tokens",
        )
        require(
            self.overlong_buffer == 0 or (self.credit == "outcome" and self.objectives is None),
            "overlong_buffer changes the score of a whole response: it needs credit=outcome, objectives=null",
        )

    @property
    def group_relative(self) -> bool:
        """A group of one has no baseline."""
        return self.baseline != "none"

    @property
    def needs_steps(self) -> bool:
        """Only if credit goes to steps."""
        return self.credit != "outcome"

    def prepare(self, scored: Scored) -> Prepared:
        """The scored rows, with an advantage on each of their tokens."""
        batch, rows = scored.batch, scored_rows(scored.scores)
        values, mask = values_of(scored.scores)
        metrics = counts(values, mask)
        if self.credit == "outcome":
            if self.overlong_buffer:
                penalty = self._overlong(batch.response_mask).reshape(values.shape)
                values = values + penalty
                metrics["overlong_penalty"] = float(penalty[mask].mean())
            tokens = on_every_token(self._outcome(scored, values, mask).flatten(), batch.response_mask)
        else:
            steps = scored.placed_steps()
            if self.credit == "steps":  # compares all steps of a group, not the values
                metrics["groups_equal"] = counts(*steps.in_groups(mask.shape[1]))["groups_equal"]
            metrics |= steps.counts()
            tokens = self._step_credit(steps, scored, mask)
        price, of_kl = self.kl_price(batch, rows)
        tokens = tokens - discounted_returns(price, batch.response_mask, gamma=1.0)
        if self.scale == "batch":
            tokens = batch_whitened(tokens, batch.response_mask & rows[:, None])
        learnt, of_cut = learnt_rows(replace(batch, advantages=tokens), scored, self.mask_cut)
        return Prepared(learnt, metrics | of_kl | of_cut)

    def _outcome(self, scored: Scored, values: Tensor, mask: Tensor) -> Tensor:
        """An advantage for each response, (G, n)."""
        if self.objectives is not None:
            return normalise_each(parts_of(scored.scores, list(self.objectives)), mask, self.objectives, whiten=True)
        if self.baseline == "none":
            return values * mask
        if self.baseline == "leave_one_out":
            return leave_one_out(values, mask)
        return group_advantages(values, mask, normalise_std=self.scale == "group")

    def _step_credit(self, steps: StepRewards, scored: Scored, mask: Tensor) -> Tensor:
        """An advantage for each token, (B, L), from the step scores and the objectives."""
        response_mask, size = scored.batch.response_mask, mask.shape[1]
        if self.credit == "steps":
            tokens = process_normalised(steps, size, response_mask)
        else:
            tokens = min_form_advantages(centred(steps), size, response_mask, self.min_form_temperature)
        for name, weight in (self.objectives or {}).items():
            part = parts_of(scored.scores, [name])[name]
            compared = group_advantages(part, mask) if self.credit == "steps" else leave_one_out(part, mask)
            tokens = tokens + on_every_token(weight * compared.flatten(), response_mask)
        return tokens

    def _overlong(self, response_mask: Tensor) -> Tensor:
        """DAPO's penalty for each response, (B,), in [-1, 0]."""
        lengths = response_mask.sum(dim=1).tolist()
        return torch.tensor([overlong_penalty(n, self.overlong_limit or 0, self.overlong_buffer) for n in lengths])
