"""A run that resumes from a checkpoint goes on bit for bit as if it had not stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
import torch

from rl.learner.losses import PolicyLossSettings, PreferenceLossSettings
from rl.settings import LoraSettings
from rl.types import Preferences, TrainBatch
from tests.rl.conftest import random_batch
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


@pytest.mark.parametrize(("count", "stage", "adapted"), [(2, 2, True), (2, 3, True), (2, 3, False)])
def test_resuming_is_exact_with_adapter_dropout_and_a_refreshed_reference(
    ranks: dict[int, Ranks], tmp_path: Path, count: int, stage: Stage, adapted: bool
) -> None:
    pairs = Preferences(random_batch(5, seed=5), torch.tensor([0, 2, 3]), torch.tensor([1, 4, 2]))
    lora = LoraSettings(rank=2, alpha=4, dropout=0.3) if adapted else None
    settings = settings_for(count, stage, learning_rate=1e-3, micro_batch_tokens=160, lora=lora)
    group, loss = ranks[count], PreferenceLossSettings()
    group.load(settings, loss)
    group.update(pairs, settings, seed=0)
    group.all("refresh_reference")
    group.update(pairs, settings, seed=1)
    group.all("save_checkpoint", str(tmp_path))
    without_stop = group.update(pairs, settings, seed=2)
    expected = group.weights()

    group.load(settings, loss)
    group.all("load_checkpoint", str(tmp_path))
    resumed = group.update(pairs, settings, seed=2)
    assert resumed["margin"] == without_stop["margin"]
    weights = group.weights()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
