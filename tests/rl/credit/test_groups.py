"""Advantages against loops in float64, against TRL's formulas, and what happens to failed and flat groups."""

import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rewards.mixture import Term
from rewards.types import Score
from rl.credit.groups import (
    batch_whitened,
    counts,
    group_advantages,
    informative,
    leave_one_out,
    normalise_each,
    on_every_token,
    parts_of,
    values_of,
)
from tests.rewards.test_mixture import Fixed, mixed
from tests.rl.credit.rollouts import few

numbers = st.floats(-5, 5, allow_nan=False).map(lambda x: round(x, 3))
groups = st.lists(st.lists(st.one_of(numbers, st.none()), min_size=4, max_size=4), min_size=1, max_size=5)


def brute_force(group: list[float | None], normalise_std: bool) -> list[float]:
    present = [value for value in group if value is not None]
    if len(present) < 2 or statistics.stdev(present) <= 1e-6:
        return [0.0] * len(group)
    mean, scale = statistics.fmean(present), statistics.stdev(present) if normalise_std else 1.0
    return [0.0 if value is None else (value - mean) / scale for value in group]


def tensors(rows: list[list[float | None]]) -> tuple[torch.Tensor, torch.Tensor]:
    values = torch.tensor([[value or 0.0 for value in row] for row in rows], dtype=torch.float64)
    return values, torch.tensor([[value is not None for value in row] for row in rows])


@pytest.mark.parametrize("normalise_std", [True, False])
@few
@given(rows=groups)
def test_group_advantages_equal_a_loop_over_groups(rows: list[list[float | None]], normalise_std: bool) -> None:
    values, mask = tensors(rows)
    expected = torch.tensor([brute_force(row, normalise_std) for row in rows], dtype=torch.float64)
    assert torch.allclose(group_advantages(values, mask, normalise_std), expected, atol=1e-9)


def test_a_failed_score_changes_no_other_advantage() -> None:
    scored = [Score.of(1.0), Score.of(0.0), Score.of(0.5)]
    with_failure = group_advantages(*values_of([[*scored, Score.failed("no answer")]]))
    assert torch.equal(with_failure[:, :3], group_advantages(*values_of([scored])))
    assert with_failure[0, 3] == 0


@few
@given(rows=groups)
def test_leave_one_out_subtracts_the_mean_of_the_others(rows: list[list[float | None]]) -> None:
    expected = []
    for row in rows:
        present = [value for value in row if value is not None]
        several = len(present) >= 2
        rest = [None if v is None or not several else (sum(present) - v) / (len(present) - 1) for v in row]
        expected.append([0.0 if mean is None else v - mean for v, mean in zip(row, rest, strict=True)])
    found = leave_one_out(*tensors(rows))
    assert torch.allclose(found, torch.tensor(expected, dtype=torch.float64), atol=1e-9)


@few
@given(rows=groups)
def test_whitening_equals_a_loop_over_the_batch(rows: list[list[float | None]]) -> None:
    present = [value for row in rows for value in row if value is not None]
    expected = torch.zeros(len(rows), 4, dtype=torch.float64)
    if len(present) >= 2 and statistics.pstdev(present) > 1e-5:
        mean, std = statistics.fmean(present), statistics.pstdev(present)
        for index, row in enumerate(rows):
            for place, value in enumerate(row):
                expected[index, place] = 0.0 if value is None else (value - mean) / std
    assert torch.allclose(batch_whitened(*tensors(rows)), expected, atol=1e-9)


def test_the_formulas_equal_trls_except_for_its_epsilon() -> None:
    """As in `trl/trainer/rloo_trainer.py` (commit 00313f2) and its GRPO trainer, which adds 1e-4 to the deviation."""
    rewards = torch.randn(5, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    everything = torch.ones(5, 8, dtype=torch.bool)
    baselines = (rewards.sum(dim=1, keepdim=True) - rewards) / (8 - 1)
    assert torch.allclose(leave_one_out(rewards, everything), rewards - baselines, atol=1e-9)
    std = rewards.std(dim=1, keepdim=True)
    trl = (rewards - rewards.mean(dim=1, keepdim=True)) / (std + 1e-4)
    assert torch.allclose(group_advantages(rewards, everything) * std / (std + 1e-4), trl, atol=1e-9)
    whitened = (rewards - rewards.mean()) / rewards.std()  # unbiased there, the population's here
    assert torch.allclose(batch_whitened(rewards, everything) * (39 / 40) ** 0.5, whitened, atol=1e-9)


def test_objectives_are_normalised_before_they_are_summed() -> None:
    named = {"right": torch.tensor([[0.0, 1.0], [0.0, 1.0]]), "short": torch.tensor([[0.0, 1.0], [1.0, 1.0]])}
    mask = torch.ones(2, 2, dtype=torch.bool)
    summed = group_advantages(named["right"] + named["short"], mask)
    assert torch.allclose(summed[0], summed[1])  # two objectives gained are worth no more than one
    found = normalise_each(named, mask, {"right": 1.0, "short": 0.5}, whiten=False)
    assert torch.allclose(found, torch.tensor([[-1.5, 1.5], [-1.0, 1.0]]) / 2**0.5)
    assert torch.equal(normalise_each(named, mask, {"right": 1.0, "short": 0.5}, True), batch_whitened(found, mask))


@given(st.lists(st.tuples(numbers, numbers), min_size=2, max_size=6))
def test_a_normalised_mixture_gives_the_same_advantages(pairs) -> None:
    columns = dict(zip(("right", "short"), map(list, zip(*pairs, strict=True)), strict=True))
    weights = {"right": 1.0, "short": 0.5}
    terms = {name: Term(Fixed(column), weight=weights[name]) for name, column in columns.items()}
    found = [score.value for score in mixed(terms, len(pairs), combine="normalised")]
    named = {name: torch.tensor([column], dtype=torch.float64) for name, column in columns.items()}
    mask = torch.ones(1, len(pairs), dtype=torch.bool)
    assert found == pytest.approx(normalise_each(named, mask, weights, whiten=False)[0].tolist())


def test_every_objective_needs_its_weight() -> None:
    with pytest.raises(ValueError, match=r"weights for \['b'\], but the objectives are \['a'\]"):
        normalise_each({"a": torch.zeros(1, 2)}, torch.ones(1, 2, dtype=torch.bool), {"b": 1.0}, whiten=False)


def test_parts_of_scores_are_objectives() -> None:
    scores = [[Score.of(3.0, parts={"a": 1.0, "b": 2.0}), Score.failed("x")]]
    assert parts_of(scores, ["b"])["b"].tolist() == [[2.0, 0.0]]
    with pytest.raises(ValueError, match="no part c: it has a, b"):
        parts_of(scores, ["c"])


def test_groups_without_a_signal_are_counted_by_reason() -> None:
    failed, one, two = Score.failed("x"), Score.of(1.0), Score.of(2.0)
    values, mask = values_of([[one, one], [failed, failed], [one, failed], [one, two]])
    assert counts(values, mask) == {"groups_failed": 1.0, "groups_single": 1.0, "groups_equal": 1.0}
    assert informative(values, mask).tolist() == [False, False, False, True]


@pytest.mark.parametrize("estimate", [group_advantages, leave_one_out, batch_whitened])
def test_large_rewards_that_differ_only_by_rounding_give_zeros(estimate) -> None:
    values = torch.full((1, 8), 31.7)
    values[0, 3] = torch.nextafter(values[0, 3], torch.tensor(40.0))
    assert torch.equal(estimate(values, torch.ones(1, 8, dtype=torch.bool)), torch.zeros(1, 8))


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
def test_a_group_without_a_signal_gets_zeros(group: list[Score]) -> None:
    assert torch.equal(group_advantages(*values_of([group])), torch.zeros(1, 4))


def test_groups_of_different_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="different sizes"):
        values_of([[Score.of(1.0)], [Score.of(1.0), Score.of(2.0)]])


def test_an_outcome_advantage_is_on_every_response_token_and_nowhere_else() -> None:
    mask = torch.tensor([[False, True, True, False], [False, False, True, True]])
    tokens = on_every_token(torch.tensor([2.0, -1.0]), mask)
    assert tokens.tolist() == [[0, 2, 2, 0], [0, 0, -1, -1]]
