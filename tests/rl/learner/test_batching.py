"""Rows into ranks and micro-batches."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rl.learner.batching import Sizes, plan_pass, plan_update
from rl.settings import LearnerSettings
from rl.types import TrainBatch

ROWS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 30)), min_size=1, max_size=40)


def sizes_of(rows: list[tuple[int, int]], shared: bool) -> Sizes:
    """Rows as (prompt number, response tokens); prompt p has p + 1 tokens."""
    numbers = [prompt for prompt, _ in rows] if shared else list(range(len(rows)))
    return Sizes([prompt + 1 for prompt, _ in rows], [tokens for _, tokens in rows], numbers, shared)


@given(ROWS, st.integers(1, 4), st.integers(40, 100), st.booleans())
def test_every_row_is_visited_once_within_the_budget_and_ranks_stay_in_lockstep(
    rows: list[tuple[int, int]], ranks: int, budget: int, shared: bool
) -> None:
    sizes = sizes_of(rows, shared)
    plan = plan_pass(sizes, list(range(len(rows))), ranks, budget)
    assert sorted(row for micros in plan for micro in micros for row in micro) == list(range(len(rows)))
    assert len({len(micros) for micros in plan}) == 1
    assert all(sizes.tokens(micro) <= budget for micros in plan for micro in micros)


@given(ROWS, st.integers(1, 4))
def test_rows_of_one_prompt_go_to_one_rank_and_share_a_micro_batch_if_they_fit(
    rows: list[tuple[int, int]], ranks: int
) -> None:
    plan = plan_pass(sizes_of(rows, shared=True), list(range(len(rows))), ranks, 10_000)
    homes: dict[int, set[tuple[int, int]]] = {}
    for rank, micros in enumerate(plan):
        for place, micro in enumerate(micros):
            for row in micro:
                homes.setdefault(rows[row][0], set()).add((rank, place))
    assert all(len(places) == 1 for places in homes.values())


@given(ROWS, st.integers(1, 4))
def test_ranks_differ_by_at_most_one_row_in_tokens(rows: list[tuple[int, int]], ranks: int) -> None:
    lengths = [prompt + 1 + tokens for prompt, tokens in rows]
    plan = plan_pass(sizes_of(rows, shared=False), list(range(len(rows))), ranks, 10_000)
    loads = [sum(lengths[row] for micro in micros for row in micro) for micros in plan]
    assert max(loads) - min(loads) <= max(lengths)


def test_a_prompt_counts_once_and_there_is_no_padding() -> None:
    rows = [(4, 10), (4, 3), (2, 7)]
    assert sizes_of(rows, shared=True).tokens([0, 1, 2]) == 5 + 10 + 3 + 3 + 7
    assert sizes_of(rows, shared=False).tokens([0, 1, 2]) == 3 * 15


def settings(**keys: int) -> LearnerSettings:
    return LearnerSettings(**keys)  # type: ignore[arg-type]


def rows_with(responses: list[int]) -> TrainBatch:
    """Rows of five tokens with so many response tokens at the end."""
    places = torch.arange(5)
    response = torch.tensor(responses, dtype=torch.int64)[:, None] > 4 - places
    ids = torch.zeros(len(responses), 5, dtype=torch.int64)
    return TrainBatch(ids, torch.ones_like(ids, dtype=torch.bool), response, torch.zeros(ids.shape))


def rows_of(step: object) -> list[int]:
    return sorted(row for micros in step.micros for micro in micros for row in micro)  # type: ignore[attr-defined]


def test_each_epoch_visits_every_row_in_new_minibatches() -> None:
    steps = plan_update(rows_with([2] * 10), settings(epochs=2, minibatches=3), seed=0, shared=True)
    assert len(steps) == 6
    assert sorted(row for step in steps[:3] for row in rows_of(step)) == list(range(10))
    assert [rows_of(step) for step in steps[:3]] != [rows_of(step) for step in steps[3:]]


def test_the_seed_determines_the_minibatches() -> None:
    def draw(seed: int) -> list[list[int]]:
        steps = plan_update(rows_with([2] * 10), settings(minibatches=2), seed, shared=True)
        return [rows_of(step) for step in steps]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_counts_cover_the_minibatch_without_empty_responses() -> None:
    (step,) = plan_update(rows_with([2, 0, 3]), settings(ranks=2), seed=0, shared=True)
    assert (step.tokens, step.sequences) == (5, 2)


def test_there_are_never_more_minibatches_than_rows() -> None:
    steps = plan_update(rows_with([2, 2, 2]), settings(minibatches=4, epochs=2), seed=0, shared=True)
    assert [len(rows_of(step)) for step in steps] == [1] * 6
    assert sorted(row for step in steps[:3] for row in rows_of(step)) == [0, 1, 2]
    with pytest.raises(ValueError, match="no responses to learn from"):
        plan_update(rows_with([]), settings(), seed=0, shared=True)


@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 3))
def test_minibatches_differ_by_at_most_one_row_if_the_rows_do_not_divide_evenly(
    rows: int, minibatches: int, ranks: int
):
    plan = plan_update(rows_with([2] * rows), settings(minibatches=minibatches, ranks=ranks), seed=0, shared=True)
    sizes = [len(rows_of(step)) for step in plan]
    assert sum(sizes) == rows and max(sizes) - min(sizes) <= 1
    assert [step.tokens for step in plan] == [2 * size for size in sizes], "each loss is a mean over its own tokens"
    assert all(len(step.micros) == ranks for step in plan), "a rank without rows keeps step with the others"


def test_a_sequence_longer_than_a_micro_batch_is_refused() -> None:
    with pytest.raises(ValueError, match=r"learner\.micro_batch_tokens is 4, but a sequence has 5"):
        plan_update(rows_with([2]), settings(micro_batch_tokens=4), seed=0, shared=True)
