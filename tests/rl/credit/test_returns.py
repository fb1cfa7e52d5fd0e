"""Returns and GAE against loops in plain float64, and that nothing outside the response matters."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rl.credit.returns import discounted_returns, gae, on_last_token
from tests.rl.credit.rollouts import few

fractions = st.sampled_from([0.0, 0.3, 0.95, 1.0])
numbers = st.floats(-3, 3, allow_nan=False).map(lambda x: round(x, 3))
tokens = st.lists(st.tuples(numbers, numbers), min_size=0, max_size=6)


def place(rows: list[list[tuple[float, float]]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rewards, values and mask (B, 9): row i's response starts at column 1 + i % 3, noise all round it."""
    rewards, values = torch.full((2, len(rows), 9), 7.0, dtype=torch.float64)
    mask = torch.zeros(len(rows), 9, dtype=torch.bool)
    for index, row in enumerate(rows):
        start = 1 + index % 3
        for column, (reward, value) in enumerate(row, start=start):
            rewards[index, column], values[index, column], mask[index, column] = reward, value, True
    return rewards, values, mask


@few
@given(rows=st.lists(tokens, min_size=1, max_size=4), gamma=fractions, lam=fractions)
def test_gae_equals_the_sum_of_its_definition(rows: list[list[tuple[float, float]]], gamma: float, lam: float) -> None:
    rewards, values, mask = place(rows)
    advantages, returns = gae(rewards, values, mask, gamma, lam)
    expected = torch.zeros_like(rewards)
    for index, row in enumerate(rows):
        next_values = [value for _, value in row[1:]] + [0.0]
        deltas = [r + gamma * after - v for (r, v), after in zip(row, next_values, strict=True)] if row else []
        for place_, _ in enumerate(row):
            total = sum((gamma * lam) ** k * delta for k, delta in enumerate(deltas[place_:]))
            expected[index, 1 + index % 3 + place_] = total
    assert torch.allclose(advantages, expected, atol=1e-9)
    assert torch.allclose(returns, (expected + values) * mask, atol=1e-9)


@few
@given(rows=st.lists(tokens, min_size=1, max_size=4), gamma=fractions)
def test_a_return_is_the_discounted_sum_of_future_rewards(rows: list[list[tuple[float, float]]], gamma: float) -> None:
    rewards, _, mask = place(rows)
    expected = torch.zeros_like(rewards)
    for index, row in enumerate(rows):
        for start in range(len(row)):
            expected[index, 1 + index % 3 + start] = sum(gamma**k * r for k, (r, _) in enumerate(row[start:]))
    assert torch.allclose(discounted_returns(rewards, mask, gamma), expected, atol=1e-9)


def test_with_lambda_one_advantages_are_returns_minus_values() -> None:
    rewards, values, mask = place([[(1.0, 0.5), (0.0, 0.25), (2.0, -1.0)]])
    advantages, returns = gae(rewards, values, mask, gamma=0.9, lam=1.0)
    assert torch.allclose(returns, discounted_returns(rewards, mask, 0.9))
    assert torch.allclose(advantages, (returns - values) * mask)


def test_a_reward_lands_on_the_last_token_of_its_response() -> None:
    mask = torch.tensor([[False, True, True, False], [False, False, True, True], [False] * 4])
    assert on_last_token(torch.tensor([2.0, -1.0, 5.0]), mask).tolist() == [[0, 0, 2, 0], [0, 0, 0, -1], [0] * 4]


@pytest.mark.parametrize("gamma, lam, named", [(1.1, 0.9, "gamma"), (1.0, -0.1, "lam")])
def test_a_discount_outside_its_range_is_refused(gamma: float, lam: float, named: str) -> None:
    empty = torch.zeros(1, 2)
    with pytest.raises(ValueError, match=rf"{named} must be in \[0, 1\]"):
        gae(empty, empty, empty.bool(), gamma, lam)
