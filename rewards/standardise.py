"""Values of a group brought to mean 0 and standard deviation 1: what group-relative advantages and GDPO share.

G groups of n values are a (G, n) tensor next to a mask of the same shape, True where the value is there. Values that
are not there take no part. Statistics are computed in float64.
"""

from __future__ import annotations

import torch
from torch import Tensor

STD_FLOOR = 1e-6
"""A group whose standard deviation is not above this has equal values: it becomes 0 rather than noise blown up.

It is relative to the largest value of the group where that is above 1: float32 rounds a reward of 30 to about 2e-6."""


def standardised(values: Tensor, mask: Tensor) -> Tensor:
    """Each value minus its group's mean, over its group's standard deviation, the unbiased one (n - 1).

    values, mask: (G, n). Returns (G, n) of the values' dtype. A group with fewer than two values, or with equal ones,
    gets zeros, as does a value that is not there.
    """
    centred, std, differ = group_statistics(values, mask)
    return torch.where(differ, centred / std.clamp(min=STD_FLOOR), 0.0).to(values.dtype)


def group_statistics(values: Tensor, mask: Tensor, unbiased: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """Of every row: the values minus its mean (0 where masked), its standard deviation (G, 1), and whether (G, 1) it
    has at least two values that differ. All in float64."""
    exact = torch.where(mask, values.double(), 0.0)
    count = mask.sum(dim=1, keepdim=True)
    centred = (exact - exact.sum(dim=1, keepdim=True) / count.clamp(min=1)) * mask
    freedom = (count - 1 if unbiased else count).clamp(min=1)
    std = (centred.square().sum(dim=1, keepdim=True) / freedom).sqrt()
    floor = STD_FLOOR * exact.abs().amax(dim=1, keepdim=True).clamp(min=1.0)
    return centred, std, (count >= 2) & (std > floor)
