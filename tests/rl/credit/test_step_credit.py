"""What is made of step values, each against a loop in plain float64; and groups from which nothing can be learnt."""

from __future__ import annotations

import math
import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rl.credit.returns import discounted_returns
from rl.credit.steps import centred, clip, delta, min_form, min_form_advantages, on_step_tokens, process_normalised
from tests.rl.credit.rollouts import few, steps_of

Row = list[tuple[float, int]]

LENGTH = 12
numbers = st.floats(0, 1, allow_nan=False).map(lambda x: round(x, 3))
rows = st.lists(st.tuples(numbers, st.integers(2, 9)), max_size=4).map(
    lambda row: sorted(row, key=lambda step: step[1])
)
groups_of_three = st.lists(rows, min_size=3, max_size=6).filter(lambda found: len(found) % 3 == 0)


def response_mask(found: list[Row]) -> torch.Tensor:
    """Responses of unequal lengths from column 2 on, each reaching beyond its last step, empty ones two tokens long."""
    mask = torch.zeros(len(found), LENGTH, dtype=torch.bool)
    for index, row in enumerate(found):
        mask[index, 2 : (row[-1][1] if row else 3) + 1 + index % 3] = True
    return mask


def to_go(row: Row, values: list[float], mask: torch.Tensor) -> list[float]:
    """For each column inside the response the sum of the values of the steps that end at or after it."""
    return [
        sum(value for value, (_, end) in zip(values, row, strict=True) if end >= column) if inside else 0.0
        for column, inside in enumerate(mask.tolist())
    ]


@few
@given(found=groups_of_three)
def test_process_supervision_equals_the_papers_definition(found: list[Row]) -> None:
    mask = response_mask(found)
    expected = []
    for start in range(0, len(found), 3):
        group = found[start : start + 3]
        present = [value for row in group for value, _ in row]
        flat = len(present) < 2 or statistics.stdev(present) <= 1e-6
        mean, std = (0.0, math.inf) if flat else (statistics.fmean(present), statistics.stdev(present))
        for offset, row in enumerate(group):
            expected.append(to_go(row, [(value - mean) / std for value, _ in row], mask[start + offset]))
    advantages = process_normalised(steps_of(found), 3, mask)
    assert torch.allclose(advantages, torch.tensor(expected, dtype=torch.float64), atol=1e-9)


def weighted(row: Row, temperature: float) -> list[float]:
    weights = [math.exp(-value / temperature) for value, _ in row]
    return [value * weight / sum(weights) for (value, _), weight in zip(row, weights, strict=True)]


@few
@given(found=groups_of_three, temperature=st.sampled_from([0.1, 1.0]))
def test_min_form_advantages_equal_a_loop_over_tokens(found: list[Row], temperature: float) -> None:
    mask = response_mask(found)
    expected = []
    for index, row in enumerate(found):
        start = index - index % 3
        others = [o for o in range(start, start + 3) if o != index and found[o]]
        if not row or not others:
            expected.append([0.0] * LENGTH)
            continue
        earned = sum(sum(weighted(found[other], temperature)) for other in others)
        baseline = earned / sum(int(mask[other].sum()) for other in others)
        ends = [1, *(end for _, end in row)]
        tokens = [ends[place + 1] - ends[place] for place in range(len(row))]
        against = [value - baseline * n for value, n in zip(weighted(row, temperature), tokens, strict=True)]
        expected.append(to_go(row, against, mask[index]))
    advantages = min_form_advantages(steps_of(found), 3, mask, temperature)
    assert torch.allclose(advantages, torch.tensor(expected, dtype=torch.float64), atol=1e-9)


@few
@given(row=rows.filter(bool))
def test_the_min_forms_sum_is_the_minimum_as_the_temperature_falls(row: Row) -> None:
    assert float(min_form(steps_of([row]), 1e-4).values.sum()) == pytest.approx(min(v for v, _ in row), abs=1e-6)


def test_the_min_form_does_not_pay_for_more_good_steps() -> None:
    short, long = steps_of([[(0.9, 3), (0.2, 6)]]), steps_of([[(0.9, 3), (0.9, 4), (0.9, 5), (0.2, 6)]])
    assert float(min_form(long).values.sum()) == pytest.approx(float(min_form(short).values.sum()), abs=0.002)


def test_a_temperature_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="temperature of the min-form must be above 0, not 0"):
        min_form(steps_of([[(0.5, 3)]]), 0.0)


@few
@given(row=rows)
def test_with_delta_the_sum_from_a_step_on_is_the_step_itself(row: Row) -> None:
    changed = delta(steps_of([row])).values[0].tolist()[: len(row)]
    for place, (value, _) in enumerate(row):
        assert sum(changed[place:]) == pytest.approx(value, abs=1e-9)


@few
@given(row=rows)
def test_with_clip_no_step_has_a_positive_reward(row: Row) -> None:
    found = clip(steps_of([row, [(0.4, 3)] * 5]), eta=0.5).values[0, : len(row)].tolist()
    assert found == pytest.approx([min(value - 0.5, 0.0) for value, _ in row], abs=1e-9)


@pytest.mark.parametrize("change", [centred, delta, min_form, lambda steps: clip(steps, 0.9)])
def test_without_a_step_there_is_no_value(change) -> None:
    changed = change(steps_of([[(0.5, 3), (0.7, 6)], [(0.2, 5)], []]))
    assert not changed.values[~changed.mask].any()
    assert changed.values.isfinite().all()


def test_centred_values_are_p_right_minus_p_wrong() -> None:
    assert centred(steps_of([[(0.75, 3), (0.0, 6)]])).values.tolist() == [[0.5, -1.0]]


@pytest.mark.parametrize("credit", [process_normalised, min_form_advantages])
@pytest.mark.parametrize(
    "found",
    [[[], [], []], [[(0.5, 4)], [], []]],
    ids=["all failed", "one survivor with one step"],
)
def test_a_group_with_nothing_to_compare_gets_zeros(credit, found: list[Row]) -> None:
    assert torch.equal(credit(steps_of(found), 3, response_mask(found)), torch.zeros(3, LENGTH, dtype=torch.float64))


def test_equal_steps_in_the_whole_group_get_zeros() -> None:
    found = [[(0.7, 4), (0.7, 6)], [(0.7, 5)], [(0.7, 3)]]
    assert not process_normalised(steps_of(found, torch.float32), 3, response_mask(found)).any()


def test_values_on_the_same_token_add_up() -> None:
    steps = steps_of([[(0.5, 4), (0.25, 4), (1.0, 6)]])
    assert on_step_tokens(steps, (1, 8)).tolist() == [[0, 0, 0, 0, 0.75, 0, 1.0, 0]]
    mask = response_mask([[(0.5, 4), (0.25, 4), (1.0, 6)]])
    assert discounted_returns(on_step_tokens(steps, mask.shape), mask, 1.0)[0, 2:7].tolist() == [1.75] * 3 + [1.0] * 2
