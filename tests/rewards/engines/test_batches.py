from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rewards.engines.batches import token_batches


@given(lengths=st.lists(st.integers(1, 50)), budget=st.integers(1, 200))
def test_every_sequence_is_in_one_batch_within_the_budget_longest_first(lengths, budget):
    batches = token_batches(lengths, budget)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[index] for index in batch)
        assert len(batch) == 1 or longest * len(batch) <= budget
    flat = [lengths[index] for batch in batches for index in batch]
    assert flat == sorted(lengths, reverse=True)
