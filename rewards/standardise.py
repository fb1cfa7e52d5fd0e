"""Normalise the values of a group to mean 0 and standard deviation 1, for group-relative advantages and GDPO.

G groups of n values are a (G, n) tensor with a mask of the same shape, True for values that exist. Masked values are
ignored. Statistics are computed in float64.
"""

from __future__ import annotations

import torch
from torch import Tensor

STD_FLOOR = 1e-6
"""A group with a standard deviation of at most this has equal values; it becomes 0 instead of amplified noise.

It is relative to the group's largest value if that is above 1: float32 rounds a reward of 30 to about 2e-6."""


def standardised(values: Tensor, mask: Tensor) -> Tensor:
    """Each value minus its group's mean, divided by the group's unbiased standard deviation (n - 1).

    values, mask: (G, n). Returns (G, n) in the dtype of `values`. Groups with fewer than two values or with equal
    values get zeros, and so do masked values.
    """
    centred, std, differ = group_statistics(values, mask)
    return torch.where(differ, centred / std.clamp(min=STD_FLOOR), 0.0).to(values.dtype)


def group_statistics(values: Tensor, mask: Tensor, unbiased: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """Per row: the values minus its mean (G, n), 0 where masked; its standard deviation (G, 1); and whether it has at
    least two different values (G, 1). Statistics in float64."""
    exact = torch.where(mask, values.double(), 0.0)
    count = mask.sum(dim=1, keepdim=True)
    centred = (exact - exact.sum(dim=1, keepdim=True) / count.clamp(min=1)) * mask
    freedom = (count - 1 if unbiased else count).clamp(min=1)
    std = (centred.square().sum(dim=1, keepdim=True) / freedom).sqrt()
    floor = STD_FLOOR * exact.abs().amax(dim=1, keepdim=True).clamp(min=1.0)
    return centred, std, (count >= 2) & (std > floor)
