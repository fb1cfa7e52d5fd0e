"""From groups of scores to rows of a batch: row i * n + j is response j of group i."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rewards.types import Score
from rl.types import TrainBatch


def scored_rows(scores: Sequence[Sequence[Score]]) -> Tensor:
    """(B,) bool: the rows whose score is there."""
    return torch.tensor([score.ok for group in scores for score in group], dtype=torch.bool)


def with_scores(batch: TrainBatch, scores: Sequence[Sequence[Score]]) -> TrainBatch:
    """The batch without the rows whose score failed."""
    there = scored_rows(scores)
    return batch if bool(there.all()) else batch.select(there.nonzero().flatten())
