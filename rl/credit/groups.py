"""Compare a response's reward with its group, the rest of its group, or the batch. Pure functions on tensors.

A rollout's values are a (G, n) tensor, G groups of n responses, with a mask of the same shape that is True where a
score exists. Failed scores are excluded from means and deviations, and their advantage is 0. Statistics are computed
in float64; results have the dtype of the input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from rewards.standardise import STD_FLOOR, group_statistics, standardised
from rewards.types import Score


def values_of(scores: Sequence[Sequence[Score]]) -> tuple[Tensor, Tensor]:
    """The scores of G groups of n as values (G, n) float32, 0 where failed, and a mask (G, n), False where failed.

    Raises ValueError for groups of different sizes.
    """
    sizes = {len(group) for group in scores}
    if len(sizes) > 1:
        raise ValueError(f"groups of different sizes: {sorted(sizes)}")
    values = torch.tensor([[score.value if score.ok else 0.0 for score in group] for group in scores])
    return values, torch.tensor([[score.ok for score in group] for group in scores], dtype=torch.bool)


def parts_of(scores: Sequence[Sequence[Score]], names: Sequence[str]) -> dict[str, Tensor]:
    """The named parts of every score, each (G, n) float32, 0 where failed; the input of `normalise_each`.

    Raises ValueError if a successful score lacks a part.
    """
    for group in scores:
        for score in group:
            missing = [name for name in names if name not in score.parts] if score.ok else []
            if missing:
                raise ValueError(f"a score has no part {missing[0]}: it has {', '.join(sorted(score.parts)) or 'none'}")
    return {
        name: torch.tensor([[score.parts[name] if score.ok else 0.0 for score in group] for group in scores])
        for name in names
    }


def group_advantages(values: Tensor, mask: Tensor, normalise_std: bool = True) -> Tensor:
    """Each value minus its group's mean, over its group's standard deviation (DeepSeekMath, arXiv:2402.03300, 4.1.2).

    values, mask: (G, n). Returns (G, n). The standard deviation is the unbiased one (n - 1), as in OpenRLHF's
    `group_norm` and TRL's GRPO, which add 1e-9 and 1e-4 to it; nothing is added here. `normalise_std=False` skips the
    division (Dr. GRPO, arXiv:2503.20783). A group with fewer than two scores, or with equal scores, gets zeros.
    """
    if normalise_std:
        return standardised(values, mask)
    centred, _, teaches = group_statistics(values, mask)
    return torch.where(teaches, centred, 0.0).to(values.dtype)


def leave_one_out(values: Tensor, mask: Tensor) -> Tensor:
    """Each value minus the mean of the *other* scores of its group (RLOO, arXiv:2402.14740, section 3.3).

    values, mask: (G, n). Returns (G, n); with m scores in a group this is m / (m - 1) times (value - group mean). A
    group with fewer than two scores, or with equal scores, gets zeros.
    """
    centred, _, teaches = group_statistics(values, mask)
    count = mask.sum(dim=1, keepdim=True)
    return torch.where(teaches, centred * count / (count - 1).clamp(min=1), 0.0).to(values.dtype)


def batch_whitened(advantages: Tensor, mask: Tensor) -> Tensor:
    """Advantages minus their mean over their standard deviation, both over the whole batch where `mask` is True.

    Any shape: (G, n), one per response, or (B, L), one per token, as in REINFORCE++ (arXiv:2501.03262) and PPO. The
    standard deviation is the population's (divides by n), as in OpenRLHF; TRL's `masked_whiten` divides by n - 1. 0
    where `mask` is False. Equal advantages, or a single one, become zeros.
    """
    row, row_mask = advantages.reshape(1, -1), mask.reshape(1, -1)
    centred, std, teaches = group_statistics(row, row_mask, unbiased=False)
    whitened = torch.where(teaches, centred / std.clamp(min=STD_FLOOR), 0.0)
    return whitened.reshape(advantages.shape).to(advantages.dtype)


def normalise_each(named: Mapping[str, Tensor], mask: Tensor, weights: Mapping[str, float], whiten: bool) -> Tensor:
    """Several objectives as one advantage: normalise each in its group, sum by weight, whiten (GDPO, arXiv:2601.05242).

    named: objective -> values (G, n), as from `parts_of`; mask: (G, n); weights: one number per objective. Returns
    (G, n). Normalising the sum instead would give equal advantages to groups that differ in different objectives. An
    objective that is equal across a group adds nothing there. `whiten=False` skips the last step and gives the values
    of a mixture with combine=normalised. Raises ValueError if objectives and weights do not match.
    """
    if not named or set(named) != set(weights):
        raise ValueError(f"weights for {sorted(weights)}, but the objectives are {sorted(named)}")
    total = torch.stack([weights[name] * group_advantages(values, mask) for name, values in named.items()]).sum(dim=0)
    return batch_whitened(total, mask) if whiten else total


def informative(values: Tensor, mask: Tensor) -> Tensor:
    """Which groups a group-relative algorithm can learn from, (G,) bool: at least two scores, not all equal."""
    return group_statistics(values, mask)[2].squeeze(1)


def counts(values: Tensor, mask: Tensor) -> dict[str, float]:
    """Count the groups that teach nothing, by reason: `groups_failed` (no score), `groups_single` (one score),
    `groups_equal`."""
    present = mask.sum(dim=1)
    return {
        "groups_failed": float((present == 0).sum()),
        "groups_single": float((present == 1).sum()),
        "groups_equal": float(((present >= 2) & ~informative(values, mask)).sum()),
    }


def on_every_token(advantages: Tensor, response_mask: Tensor) -> Tensor:
    """Put each response's advantage, (B,), on each of its response tokens, (B, L); 0 elsewhere."""
    return advantages[:, None] * response_mask.to(advantages.dtype)
