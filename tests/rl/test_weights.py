"""Buckets, and the gap between sampler and learner: the parts that need no process."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rl.types import TrainBatch
from rl.weights import WeightsDidNotArrive, check_gap, gap, pack, split, unpack


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_tensors_come_out_of_a_bucket_as_they_went_in(dtype: torch.dtype) -> None:
    tensors = {
        "a": torch.randn(3, 5).to(dtype),
        "b": torch.randn(7).to(dtype).t(),
        "c": torch.randn(4, 2).to(dtype).t(),
    }
    bucket = pack(tensors.items())
    bucket.data.setflags(write=False)  # as Ray hands it out
    unpacked = dict(unpack(bucket))
    assert unpacked.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert unpacked[name].dtype == dtype
        assert torch.equal(unpacked[name], tensor)


@given(st.lists(st.integers(1, 50), max_size=20), st.integers(1, 60))
def test_buckets_keep_order_and_stay_within_their_bytes(sizes: list[int], limit: int) -> None:
    named = [(str(index), size) for index, size in enumerate(sizes)]
    buckets = split(named, limit)
    assert [name for bucket in buckets for name in bucket] == [name for name, _ in named]
    for bucket in buckets:
        assert len(bucket) == 1 or sum(sizes[int(name)] for name in bucket) <= limit


def batch_with(behaviour: list[float]) -> TrainBatch:
    mask = torch.tensor([[False, True, True]])
    return TrainBatch(
        torch.zeros(1, 3, dtype=torch.long), torch.ones(1, 3, dtype=torch.bool), mask, torch.tensor([behaviour])
    )


def test_the_gap_is_taken_on_response_tokens_only() -> None:
    measured = gap(batch_with([9.0, -1.0, -2.0]), torch.tensor([[0.0, -1.5, -2.0]]))
    assert measured == {"mean": 0.25, "max": 0.5}


def test_a_large_gap_says_that_the_weights_did_not_arrive() -> None:
    with pytest.raises(WeightsDidNotArrive, match=r"disagree by 0\.2 nats a token"):
        check_gap({"mean": 0.2, "max": 3.0}, "bf16")


def test_a_gap_that_is_no_number_is_a_large_one() -> None:
    with pytest.raises(WeightsDidNotArrive):
        check_gap(gap(batch_with([0.0, float("nan"), 0.0]), torch.zeros(1, 3)), "fp32")


def test_rounding_is_let_through() -> None:
    check_gap({"mean": 1e-5, "max": 1e-4}, "fp32")
    check_gap({"mean": 1e-2, "max": 0.3}, "bf16")
    check_gap({"mean": 0.2, "max": 0.3}, "bf16", tolerance=0.5)
