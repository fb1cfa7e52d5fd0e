"""Advantages against brute-force loops in float64, and what happens to failed and flat groups."""

import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rewards.types import Score
from rl.credit.groups import group_advantages, on_every_token, values_of

numbers = st.floats(-5, 5, allow_nan=False).map(lambda x: round(x, 3))
groups = st.lists(st.lists(st.one_of(numbers, st.none()), min_size=4, max_size=4), min_size=1, max_size=5)


def brute_force(group: list[float | None], normalise_std: bool) -> list[float]:
    present = [value for value in group if value is not None]
    if len(present) < 2 or statistics.stdev(present) <= 1e-6:
        return [0.0] * len(group)
    mean, scale = statistics.fmean(present), statistics.stdev(present) if normalise_std else 1.0
    return [0.0 if value is None else (value - mean) / scale for value in group]


@pytest.mark.parametrize("normalise_std", [True, False])
@given(rows=groups)
def test_group_advantages_equal_a_loop_over_groups(rows: list[list[float | None]], normalise_std: bool) -> None:
    values = torch.tensor([[value or 0.0 for value in row] for row in rows], dtype=torch.float64)
    mask = torch.tensor([[value is not None for value in row] for row in rows])
    expected = torch.tensor([brute_force(row, normalise_std) for row in rows], dtype=torch.float64)
    assert torch.allclose(group_advantages(values, mask, normalise_std), expected, atol=1e-9)


def test_a_failed_score_changes_no_other_advantage() -> None:
    scored = [Score.of(1.0), Score.of(0.0), Score.of(0.5)]
    with_failure = group_advantages(*values_of([[*scored, Score.failed("no answer")]]))
    assert torch.equal(with_failure[:, :3], group_advantages(*values_of([scored])))
    assert with_failure[0, 3] == 0


@pytest.mark.parametrize(
    "group",
    [
        [Score.of(0.7)] * 4,
        [Score.failed("x")] * 4,
        [Score.of(0.3), *[Score.failed("x")] * 3],
        [Score.of(0.5), Score.of(0.5 + 1e-9), Score.of(0.5), Score.of(0.5)],
    ],
    ids=["all equal", "all failed", "one survivor", "equal but for rounding"],
)
def test_a_group_that_teaches_nothing_gets_zeros(group: list[Score]) -> None:
    assert torch.equal(group_advantages(*values_of([group])), torch.zeros(1, 4))


def test_groups_of_different_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="different sizes"):
        values_of([[Score.of(1.0)], [Score.of(1.0), Score.of(2.0)]])


def test_an_outcome_advantage_stands_on_every_response_token_and_nowhere_else() -> None:
    mask = torch.tensor([[False, True, True, False], [False, False, True, True]])
    tokens = on_every_token(torch.tensor([2.0, -1.0]), mask)
    assert tokens.tolist() == [[0, 2, 2, 0], [0, 0, -1, -1]]
