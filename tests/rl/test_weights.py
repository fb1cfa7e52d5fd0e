"""Buckets of weights: the parts that need no process."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rl.weights import pack, split, unpack


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_tensors_survive_packing_into_a_bucket(dtype: torch.dtype) -> None:
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
