"""From scores to advantages: where a reward lands and what it is compared with. Pure functions on tensors.

A rollout's values stand in a (G, n) tensor, G groups of n responses, beside a mask of the same shape: True where the
score is there. Failed scores take no part: not in a mean, not in a deviation, and their advantage is 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rewards.types import Score

STD_FLOOR = 1e-6
"""A group whose standard deviation is below this teaches nothing: its advantages are 0 rather than noise blown up."""


def values_of(scores: Sequence[Sequence[Score]]) -> tuple[Tensor, Tensor]:
    """The scores of G groups of n as values (G, n) float32, 0 where failed, and a mask (G, n), True where there is one.

    Raises ValueError for groups of different sizes.
    """
    sizes = {len(group) for group in scores}
    if len(sizes) > 1:
        raise ValueError(f"groups of different sizes: {sorted(sizes)}")
    values = torch.tensor([[score.value if score.ok else 0.0 for score in group] for group in scores])
    return values, torch.tensor([[score.ok for score in group] for group in scores], dtype=torch.bool)


def group_advantages(values: Tensor, mask: Tensor, normalise_std: bool = True) -> Tensor:
    """Each value minus its group's mean, over its group's standard deviation (DeepSeekMath, arXiv:2402.03300, eq. 3).

    values, mask: (G, n). Returns (G, n) float32. The standard deviation is the unbiased one (n - 1), as in OpenRLHF
    and TRL; `normalise_std=False` leaves it out (Dr. GRPO, arXiv:2503.20783). A group with fewer than two scores, or
    with equal ones, gets zeros.
    """
    count = mask.sum(dim=1, keepdim=True)
    mean = (values * mask).sum(dim=1, keepdim=True) / count.clamp(min=1)
    centred = (values - mean) * mask
    variance = centred.square().sum(dim=1, keepdim=True) / (count - 1).clamp(min=1)
    std = variance.sqrt()
    teaches = (count >= 2) & (std > STD_FLOOR)
    scaled = centred / std.clamp(min=STD_FLOOR) if normalise_std else centred
    return torch.where(teaches, scaled, torch.zeros_like(centred))


def on_every_token(advantages: Tensor, response_mask: Tensor) -> Tensor:
    """One advantage a response, (B,), on each of its response tokens, (B, L); 0 elsewhere."""
    return advantages[:, None] * response_mask.to(advantages.dtype)
