"""Process rewards: transform step values and place them on tokens. Pure functions on tensors.

A reward gives steps as spans of characters; `rl.alignment.place_steps` finds the policy's token that completes each
step's last character, whatever tokenizer the reward model has. The functions here change the values (delta, clip,
min-form) or turn them into advantages. A zero-length step counts as the character before it, so it shares a token with
the step before, and their values add up there. The steps of a truncated response end where its text ends; the
end-of-turn token, if any, comes after the last step.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rl.credit.groups import group_advantages
from rl.credit.returns import discounted_returns


@dataclass(frozen=True)
class StepRewards:
    """Step values of B responses, at most S (at least 1) each, in the order of the text; all tensors are (B, S).

    A row without steps (its score failed, or its list of steps is empty) is fully masked. Columns never decrease along
    a row.
    """

    values: Tensor  # float32, 0 if there is no step
    columns: Tensor  # int64, the batch column of the step's last token, 0 if there is no step
    mask: Tensor  # bool, True where there is a step

    @property
    def per_response(self) -> Tensor:
        """How many steps each response has, (B,) int64."""
        return self.mask.sum(dim=1)

    def in_groups(self, group_size: int) -> tuple[Tensor, Tensor]:
        """Values and mask with all steps of a group in one row, both (G, group_size * S); B = G * group_size.

        Pass them to `groups.counts` or `groups.informative` to find the groups whose steps teach something.
        """
        width = group_size * self.mask.shape[1]
        return self.values.reshape(-1, width), self.mask.reshape(-1, width)

    def counts(self) -> dict[str, float]:
        """`steps_mean` (steps per response, over responses with any), `steps_none` (responses without steps, including
        failed scores), and `steps_sharing_a_token` (with the step before, as empty steps do)."""
        counted = self.per_response[self.per_response > 0]
        shared = (self.columns[:, 1:] == self.columns[:, :-1]) & self.mask[:, 1:]
        return {
            "steps_mean": float(counted.double().mean()) if len(counted) else 0.0,
            "steps_none": float((self.per_response == 0).sum()),
            "steps_sharing_a_token": float(shared.sum()),
        }


def on_step_tokens(steps: StepRewards, shape: tuple[int, int] | torch.Size) -> Tensor:
    """Put each step's value on its last token, in a (B, L) tensor of the given shape; values on one token add up."""
    return steps.values.new_zeros(shape).scatter_add(1, steps.columns, steps.values * steps.mask)


def centred(steps: StepRewards) -> StepRewards:
    """Turn p = P(right) into P(right) - P(wrong) = 2 p - 1, in [-1, 1], which is PURE's step reward."""
    return _with_values(steps, 2 * steps.values - 1)


def delta(steps: StepRewards) -> StepRewards:
    """r_k - r_{k+1}; the last step keeps its r (Gao et al., arXiv:2410.15115, Delta).

    The sum from step k onwards is then r_k, so more steps of equal value gain nothing. Not checked against the paper:
    whether its last step is the one before the final answer, which there gets only the verifier's reward.
    """
    following = torch.nn.functional.pad(steps.values * steps.mask, (0, 1))[:, 1:]
    return _with_values(steps, steps.values - following)


def clip(steps: StepRewards, eta: float) -> StepRewards:
    """min(r - eta, 0): no step earns anything, bad steps cost (Gao et al., arXiv:2410.15115, Clip).

    The authors' combination of both is `delta(clip(steps, eta))`.
    """
    return _with_values(steps, (steps.values - eta).clamp(max=0.0))


def min_form(steps: StepRewards, temperature: float = 0.1) -> StepRewards:
    """w_k r_k with w = softmax(-r / temperature) over the response's steps (PURE, arXiv:2504.15275).

    The sum approximates the minimum, and equals it as the temperature goes to 0. PURE's r is `centred`. Raises
    ValueError for a temperature that is not above 0.
    """
    if temperature <= 0:
        raise ValueError(f"the temperature of the min-form must be above 0, not {temperature}")
    exponents = (-steps.values / temperature).masked_fill(~steps.mask, float("-inf"))
    weights = torch.softmax(exponents, dim=1)  # NaN in a row without steps, which the mask takes out
    return _with_values(steps, weights * steps.values)


def process_normalised(steps: StepRewards, group_size: int, response_mask: Tensor) -> Tensor:
    """DeepSeekMath's process supervision (arXiv:2402.03300, section 4.1.3), as advantages (B, L).

    All step values of a group (rows i * group_size to (i + 1) * group_size) are normalised together, r~ = (r - mean) /
    std. A token's advantage is the sum of r~ over the steps that end at or after it, so tokens after the last step
    get 0. The standard deviation is the unbiased one, as in `group_advantages`; the paper does not specify it. A group
    with fewer than two step values, or with equal ones, gets zeros.
    """
    normalised = group_advantages(*steps.in_groups(group_size)).reshape(steps.values.shape)
    return _to_go(_with_values(steps, normalised), response_mask)


def min_form_advantages(steps: StepRewards, group_size: int, response_mask: Tensor, temperature: float = 0.1) -> Tensor:
    """PURE's advantages (B, L) from step values r in [-1, 1] (`centred`), with its baseline per token.

    A token's advantage is the sum, over the steps that end at or after it, of w_k r_k (`min_form`) minus b times the
    step's number of tokens, where b is what the *other* responses of the group earned per token. (A baseline per step
    would reward fewer, longer steps.) A step's tokens start after the previous step and end with its last token; tokens
    after the last step belong to no step, but count in b. The authors' code excludes the separator from a step's
    tokens. A response with no other in its group to compare with gets zeros.

    Left out: PURE also adds the verifier's reward, with its own baseline, to the last token; for that, add
    `on_every_token(coefficient * leave_one_out(...))`.
    """
    weighted = min_form(steps, temperature)
    earned = (weighted.values * steps.mask).sum(dim=1).reshape(-1, group_size)
    has_steps = steps.mask.any(dim=1).reshape(-1, group_size)
    lengths = response_mask.sum(dim=1).reshape(-1, group_size) * has_steps
    others = lengths.sum(dim=1, keepdim=True) - lengths
    per_token = ((earned.sum(dim=1, keepdim=True) - earned) / others.clamp(min=1)).reshape(-1, 1)
    compared = (has_steps & (others > 0)).reshape(-1, 1)
    against = torch.where(compared, weighted.values - per_token * _tokens(steps, response_mask), 0.0)
    return _to_go(_with_values(weighted, against), response_mask)


def _tokens(steps: StepRewards, response_mask: Tensor) -> Tensor:
    """The number of response tokens of each step, (B, S), from after the previous step to its last token."""
    upto = response_mask.long().cumsum(dim=1).gather(1, steps.columns)
    return (upto - torch.nn.functional.pad(upto[:, :-1], (1, 0))) * steps.mask


def _to_go(steps: StepRewards, response_mask: Tensor) -> Tensor:
    """For every response token, the sum of the values of the steps that end at or after it, (B, L)."""
    return discounted_returns(on_step_tokens(steps, response_mask.shape), response_mask, gamma=1.0)


def _with_values(steps: StepRewards, values: Tensor) -> StepRewards:
    """The same steps with other values, 0 if there is no step."""
    return replace(steps, values=torch.where(steps.mask, values, 0.0).to(values.dtype))
