"""The gap between sampler and learner, which proves that new weights arrived."""

from __future__ import annotations

import pytest
import torch

from rl.settings import LoopSettings
from rl.sync import WeightsDidNotArrive, check_gap, gap
from rl.types import TrainBatch

LIMITS = LoopSettings()


def batch_with(behaviour: list[float], learners: list[float]) -> TrainBatch:
    mask = torch.tensor([[False, True, True]])
    return TrainBatch(
        torch.zeros(1, 3, dtype=torch.long),
        torch.ones(1, 3, dtype=torch.bool),
        mask,
        torch.tensor([behaviour]),
        old_logprobs=torch.tensor([learners]),
    )


def test_the_gap_is_taken_on_response_tokens_only() -> None:
    measured = gap(batch_with([9.0, -1.0, -2.0], [0.0, -1.5, -2.0]))
    assert measured == {"mean": 0.25, "max": 0.5}


def test_a_large_gap_says_that_the_weights_did_not_arrive() -> None:
    with pytest.raises(WeightsDidNotArrive, match=r"disagree by 0\.2 nats per token"):
        check_gap({"mean": 0.2, "max": 3.0}, "bf16", LIMITS.logprob_gap_bf16)


def test_a_gap_that_is_no_number_is_a_large_one() -> None:
    with pytest.raises(WeightsDidNotArrive):
        check_gap(gap(batch_with([0.0, float("nan"), 0.0], [0.0, 0.0, 0.0])), "fp32", LIMITS.logprob_gap_fp32)


def test_rounding_is_let_through() -> None:
    check_gap({"mean": 1e-5, "max": 1e-4}, "fp32", LIMITS.logprob_gap_fp32)
    check_gap({"mean": 1e-2, "max": 0.3}, "bf16", LIMITS.logprob_gap_bf16)
    check_gap({"mean": 0.2, "max": 0.3}, "bf16", 0.5)
