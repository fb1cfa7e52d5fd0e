"""Process rewards: what is made of the values of steps, and on which tokens they land. Pure functions on tensors.

A reward speaks of steps as spans of characters; `rl.alignment.place_steps` finds the policy's own token that completes
each step's last character, whatever tokenizer the reward model has. The functions here change the values (delta, clip,
min-form) or turn them into advantages. A zero-length step counts as the character before it, so it shares a token with
the step before, and their values add up there. The steps of a truncated response end where its text ends; the
end-of-turn token, if there is one, comes after the last step.
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

    A row without steps (its score failed, or has an empty list of them) is masked throughout. Columns never fall along
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
        """Values and mask of all steps of a group in one row, both (G, group_size * S): `groups.counts` and
        `groups.informative` of these say which groups' steps teach something. B = G * group_size."""
        width = group_size * self.mask.shape[1]
        return self.values.reshape(-1, width), self.mask.reshape(-1, width)

    def counts(self) -> dict[str, float]:
        """`steps_mean` of the responses that have any, `steps_none` (responses without, failed scores among them), and
        `steps_sharing_a_token` with the step before, as empty ones do."""
        counted = self.per_response[self.per_response > 0]
        shared = (self.columns[:, 1:] == self.columns[:, :-1]) & self.mask[:, 1:]
        return {
            "steps_mean": float(counted.double().mean()) if len(counted) else 0.0,
            "steps_none": float((self.per_response == 0).sum()),
            "steps_sharing_a_token": float(shared.sum()),
        }


def on_step_tokens(steps: StepRewards, shape: tuple[int, int] | torch.Size) -> Tensor:
    """Each step's value on the step's last token, (B, L) of the given shape; values that meet on a token add up."""
    return steps.values.new_zeros(shape).scatter_add(1, steps.columns, steps.values * steps.mask)


def centred(steps: StepRewards) -> StepRewards:
    """P(right) as P(right) - P(wrong) = 2 p - 1, in [-1, 1]: what PURE takes for a step's reward."""
    return _with_values(steps, 2 * steps.values - 1)


def delta(steps: StepRewards) -> StepRewards:
    """r_k - r_{k+1}, the last step keeping its own r (Gao et al., arXiv:2410.15115, Delta).

    The sum from step k on is then r_k itself: more steps of equal value gain nothing. Not checked against the paper:
    whether its last step is the one before the final answer, which there has the verifier's reward alone.
    """
    following = torch.nn.functional.pad(steps.values * steps.mask, (0, 1))[:, 1:]
    return _with_values(steps, steps.values - following)


def clip(steps: StepRewards, eta: float) -> StepRewards:
    """min(r - eta, 0): no step earns anything, bad ones cost (Gao et al., arXiv:2410.15115, Clip).

    The authors' two together: `delta(clip(steps, eta))`.
    """
    return _with_values(steps, (steps.values - eta).clamp(max=0.0))


def min_form(steps: StepRewards, temperature: float = 0.1) -> StepRewards:
    """w_k r_k with w = softmax(-r / temperature) over the response's steps (PURE, arXiv:2504.15275).

    Their sum is about the minimum, and exactly that as the temperature goes to 0. PURE's r is `centred`. Raises
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
    std; a token's advantage is the sum of r~ over the steps that end at or after it, so tokens after the last step
    have 0. The standard deviation is the unbiased one, as in `group_advantages`; the paper does not say. A group whose
    step values are fewer than two or all equal gets zeros.
    """
    normalised = group_advantages(*steps.in_groups(group_size)).reshape(steps.values.shape)
    return _to_go(_with_values(steps, normalised), response_mask)


def min_form_advantages(steps: StepRewards, group_size: int, response_mask: Tensor, temperature: float = 0.1) -> Tensor:
    """PURE's advantages (B, L) from step values r in [-1, 1] (`centred`), with its baseline per token.

    A token's advantage is the sum, over the steps that end at or after it, of w_k r_k (`min_form`) minus b times the
    step's tokens; b is what the *other* responses of the group earned for each of their tokens. (A baseline a step
    would reward fewer, longer steps.) A step's tokens are those after the step before, up to its own last; tokens after
    the last step are in no step, but count in b. The authors' code leaves the separator out of a step's tokens.
    A response with no other of its group to compare with gets zeros.

    Left out: PURE adds the verifier's reward with its own baseline to the last token; that is this plus
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
    """How many response tokens each step has, (B, S): those after the step before, up to its own last."""
    upto = response_mask.long().cumsum(dim=1).gather(1, steps.columns)
    return (upto - torch.nn.functional.pad(upto[:, :-1], (1, 0))) * steps.mask


def _to_go(steps: StepRewards, response_mask: Tensor) -> Tensor:
    """For every response token the sum of the values of the steps that end at or after it, (B, L)."""
    return discounted_returns(on_step_tokens(steps, response_mask.shape), response_mask, gamma=1.0)


def _with_values(steps: StepRewards, values: Tensor) -> StepRewards:
    """The same steps with other values, 0 if there is no step."""
    return replace(steps, values=torch.where(steps.mask, values, 0.0).to(values.dtype))
