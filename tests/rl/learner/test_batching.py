"""Rows into ranks and micro-batches."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rl.learner.batching import plan_pass, plan_update
from rl.settings import LearnerSettings

LENGTHS = st.lists(st.integers(1, 30), min_size=1, max_size=40)


@given(LENGTHS, st.integers(1, 4), st.integers(30, 100))
def test_every_row_is_visited_once_within_the_budget_and_ranks_keep_step(
    lengths: list[int], ranks: int, budget: int
) -> None:
    plan = plan_pass(torch.tensor(lengths), list(range(len(lengths))), ranks, budget)
    rows = [row for micros in plan for micro in micros for row in micro]
    assert sorted(rows) == list(range(len(lengths)))
    assert len({len(micros) for micros in plan}) == 1
    for micros in plan:
        for micro in micros:
            assert len(micro) * max((lengths[row] for row in micro), default=0) <= budget


@given(LENGTHS, st.integers(1, 4))
def test_ranks_differ_by_at_most_one_row_in_tokens(lengths: list[int], ranks: int) -> None:
    plan = plan_pass(torch.tensor(lengths), list(range(len(lengths))), ranks, 10_000)
    loads = [sum(lengths[row] for micro in micros for row in micro) for micros in plan]
    assert max(loads) - min(loads) <= max(lengths)


def settings(**keys: int) -> LearnerSettings:
    return LearnerSettings(**keys)  # type: ignore[arg-type]


def rows_of(step: object) -> list[int]:
    return sorted(row for micros in step.micros for micro in micros for row in micro)  # type: ignore[attr-defined]


def test_each_epoch_visits_every_row_in_new_minibatches() -> None:
    steps = plan_update(torch.full((10,), 5), torch.full((10,), 2), settings(epochs=2, minibatches=3), seed=0)
    assert len(steps) == 6
    assert sorted(row for step in steps[:3] for row in rows_of(step)) == list(range(10))
    assert [rows_of(step) for step in steps[:3]] != [rows_of(step) for step in steps[3:]]


def test_the_seed_draws_the_minibatches() -> None:
    def draw(seed: int) -> list[list[int]]:
        steps = plan_update(torch.full((10,), 5), torch.full((10,), 2), settings(minibatches=2), seed)
        return [rows_of(step) for step in steps]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_counts_cover_the_minibatch_and_leave_empty_responses_out() -> None:
    (step,) = plan_update(torch.tensor([5, 5, 5]), torch.tensor([2, 0, 3]), settings(ranks=2), seed=0)
    assert (step.tokens, step.sequences) == (5, 2)


def test_there_are_at_most_as_many_minibatches_as_rows() -> None:
    steps = plan_update(torch.tensor([5, 5, 5]), torch.tensor([2, 2, 2]), settings(minibatches=4, epochs=2), seed=0)
    assert [len(rows_of(step)) for step in steps] == [1] * 6
    assert sorted(row for step in steps[:3] for row in rows_of(step)) == [0, 1, 2]
    with pytest.raises(ValueError, match="no responses to learn from"):
        plan_update(torch.tensor([]), torch.tensor([]), settings(), seed=0)


@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 3))
def test_rows_that_do_not_divide_give_minibatches_that_differ_by_one_row(rows: int, minibatches: int, ranks: int):
    plan = plan_update(
        torch.full((rows,), 5), torch.full((rows,), 2), settings(minibatches=minibatches, ranks=ranks), seed=0
    )
    sizes = [len(rows_of(step)) for step in plan]
    assert sum(sizes) == rows and max(sizes) - min(sizes) <= 1
    assert [step.tokens for step in plan] == [2 * size for size in sizes], "each loss is a mean over its own tokens"
    assert all(len(step.micros) == ranks for step in plan), "a rank without rows keeps step with the others"


def test_a_sequence_longer_than_a_micro_batch_is_refused() -> None:
    with pytest.raises(ValueError, match=r"learner\.micro_batch_tokens is 4, but a sequence has 5"):
        plan_update(torch.tensor([5]), torch.tensor([2]), settings(micro_batch_tokens=4), seed=0)
