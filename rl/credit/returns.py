"""Compute returns and advantages along the tokens of a response. Pure functions on tensors.

All tensors are (B, L) and token-aligned, prompt then response, padded on the right; `response_mask` is True on response
tokens. Values outside the response are never read, and results are 0 there. A response cut at the token limit ends like
any other: nothing is bootstrapped beyond its last token, as in OpenRLHF and TRL.
"""

from __future__ import annotations

import torch
from torch import Tensor


def on_last_token(values: Tensor, response_mask: Tensor) -> Tensor:
    """Put each response's reward, (B,), on its last response token, (B, L); a response without tokens gets nothing."""
    places = torch.arange(response_mask.shape[1], device=response_mask.device)
    last = torch.where(response_mask, places, -1).amax(dim=1, keepdim=True)
    return torch.where(response_mask & (places == last), values[:, None], 0.0).to(values.dtype)


def gae(rewards: Tensor, values: Tensor, response_mask: Tensor, gamma: float, lam: float) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation (arXiv:1506.02438, eq. 16), with V = 0 after the last token.

    rewards, values: (B, L); a value is the critic's estimate before the token in its column. gamma, lam in [0, 1].
    Returns (advantages, returns), both (B, L); returns = advantages + values, the critic's regression target.
    delta_t = r_t + gamma V_{t+1} - V_t; A_t = delta_t + gamma lam A_{t+1}. Raises ValueError for gamma or lam outside
    [0, 1].
    """
    _check_fraction("gamma", gamma)
    _check_fraction("lam", lam)
    advantages = torch.zeros_like(values)
    following = advantage = torch.zeros_like(values[:, 0])
    for column in reversed(range(values.shape[1])):
        inside, value = response_mask[:, column], values[:, column]
        delta = rewards[:, column] + gamma * following - value
        advantage = torch.where(inside, delta + gamma * lam * advantage, advantage)
        following = torch.where(inside, value, following)
        advantages[:, column] = torch.where(inside, advantage, 0.0)
    return advantages, torch.where(response_mask, advantages + values, 0.0)


def discounted_returns(rewards: Tensor, response_mask: Tensor, gamma: float) -> Tensor:
    """The return of every response token: R_t = r_t + gamma R_{t+1}, (B, L). gamma in [0, 1]; 1 sums future rewards.

    Raises ValueError for any other gamma.
    """
    _check_fraction("gamma", gamma)
    returns = torch.zeros_like(rewards)
    to_come = torch.zeros_like(rewards[:, 0])
    for column in reversed(range(rewards.shape[1])):
        inside = response_mask[:, column]
        to_come = torch.where(inside, rewards[:, column] + gamma * to_come, to_come)
        returns[:, column] = torch.where(inside, to_come, 0.0)
    return returns


def _check_fraction(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be in [0, 1], not {value}")
