"""Map groups to rows of a batch: row i * n + j is response j of group i."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rewards.types import Score
from rl.types import Scored, TrainBatch


def scored_rows(scores: Sequence[Sequence[Score]]) -> Tensor:
    """(B,) bool: True for rows with a successful score."""
    return torch.tensor([score.ok for group in scores for score in group], dtype=torch.bool)


def learnt_rows(batch: TrainBatch, scored: Scored, mask_cut: bool) -> tuple[TrainBatch, dict[str, float]]:
    """The batch without the rows whose score failed, and with `mask_cut` without those cut at the length limit.

    Counts `cut_left_out`: cut rows whose score is there. Leaving a row out is a loss mask of zero on all its tokens: it
    is in no mean of the loss. What its score did to the baselines and deviations of others stays (DAPO's overlong
    filtering, arXiv:2503.14476, section 3.4).
    """
    rows = scored_rows(scored.scores)
    counted: dict[str, float] = {}
    if mask_cut:
        cut = torch.tensor([each for group in scored.groups for each in group.cut], dtype=torch.bool)
        counted["cut_left_out"] = float((rows & cut).sum())
        rows = rows & ~cut
    return batch if bool(rows.all()) else batch.select(rows.nonzero().flatten()), counted
