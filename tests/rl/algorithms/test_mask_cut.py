"""Responses cut at the length limit: left out of the loss, counted, and still in everybody's baseline."""

from __future__ import annotations

import pytest
import torch

from rewards.types import Score
from rl.algorithms.grpo import GRPO
from rl.algorithms.policy_gradient import PolicyGradient
from rl.algorithms.ppo import PPO
from rl.types import TrainBatch
from tests.rl.algorithms.scored import scored_batch

SCORES = [[Score.of(value) for value in (0.1, 0.9, 0.5)], [Score.of(1.0), Score.failed("broken"), Score.of(0.0)]]
CUT = [1, 4, 5]  # row 4 has no score: it is left out for that

ALGORITHMS = [
    lambda **options: GRPO(**options),
    lambda **options: GRPO(baseline="leave_one_out", scale="none", **options),
    lambda **options: GRPO(baseline="none", scale="batch", kl_in="reward", kl_estimator="k1", **options),
    lambda **options: PPO(**options),
]


def rows(batch: TrainBatch) -> list[int]:
    return batch.input_ids[:, 1].tolist()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_cut_rows_are_left_out_and_the_others_are_unchanged(algorithm) -> None:
    whole = algorithm().prepare(scored_batch(SCORES, cut=CUT))
    masked = algorithm(mask_cut=True).prepare(scored_batch(SCORES, cut=CUT))
    assert rows(whole.data) == [0, 1, 2, 3, 5] and rows(masked.data) == [0, 2, 3]
    assert masked.metrics["cut_left_out"] == 2 and "cut_left_out" not in whole.metrics
    kept = [rows(whole.data).index(row) for row in rows(masked.data)]
    assert torch.equal(masked.data.advantages, whole.data.advantages[kept])
    if whole.data.returns is not None:
        assert torch.equal(masked.data.returns, whole.data.returns[kept])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_mask_cut_with_all_rows_cut_and_with_none(algorithm) -> None:
    made: PolicyGradient = algorithm(mask_cut=True)
    assert len(made.prepare(scored_batch(SCORES, cut=range(6))).data) == 0
    untouched = made.prepare(scored_batch(SCORES))
    assert untouched.metrics["cut_left_out"] == 0 and len(untouched.data) == 5
