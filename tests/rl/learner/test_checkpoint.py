"""A run that resumes from a checkpoint goes on bit for bit as if it had not stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
import torch

from rl.learner.losses import PolicyLossSettings
from rl.types import TrainBatch
from tests.rl.learner.rig import Ranks, Stage, settings_for

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize(("count", "stage", "dtype"), [(2, 0, "fp32"), (2, 2, "bf16"), (2, 3, "fp32"), (1, 2, "fp32")])
def test_resuming_is_exact(
    ranks: dict[int, Ranks],
    batch: TrainBatch,
    tmp_path: Path,
    count: int,
    stage: Stage,
    dtype: Literal["fp32", "bf16"],
) -> None:
    group, settings = ranks[count], settings_for(count, stage, learning_rate=1e-3, warmup_updates=5)
    group.load(settings, PolicyLossSettings(), dtype)
    group.update(batch, settings, seed=0)
    group.all("save_checkpoint", str(tmp_path))
    without_stop = group.update(batch, settings, seed=1)
    expected = group.weights()

    group.load(settings, PolicyLossSettings(), dtype)
    group.all("load_checkpoint", str(tmp_path))
    resumed = group.update(batch, settings, seed=1)
    assert resumed["learning_rate"] == without_stop["learning_rate"]
    assert resumed["grad_norm"] == without_stop["grad_norm"]
    weights = group.weights()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
