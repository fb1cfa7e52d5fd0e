from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.evaluation.best_of_n import best_of, pass_at

Responses = list[tuple[int, bool]]
responses = st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=7)


def arrays(scored: Responses) -> tuple[np.ndarray, np.ndarray]:
    return np.array([value for value, _ in scored], dtype=float), np.array([right for _, right in scored])


def by_brute_force(scored: Responses, size: int, ties: str) -> float:
    found = []
    for chosen in combinations(scored, size):
        top = [right for value, right in chosen if value == max(value for value, _ in chosen)]
        found.append(float(top[0]) if ties == "first" else sum(top) / len(top))
    return sum(found) / len(found)


@given(responses, st.sampled_from(["share", "first"]))
def test_best_of_n_is_the_mean_over_all_subsets(scored, ties):
    values, rights = arrays(scored)
    sizes = range(1, len(scored) + 1)
    expected = [by_brute_force(scored, size, ties) for size in sizes]
    assert best_of(values, rights, list(sizes), ties) == pytest.approx(expected, abs=1e-12)


@given(responses)
def test_pass_at_n_is_the_share_of_subsets_with_a_right_response(scored):
    _, rights = arrays(scored)
    sizes = range(1, len(scored) + 1)
    expected = [np.mean([any(right for _, right in chosen) for chosen in combinations(scored, n)]) for n in sizes]
    assert pass_at(rights, list(sizes)) == pytest.approx(expected, abs=1e-12)


@given(responses)
def test_a_constant_reward_chooses_as_chance_does(scored):
    _, rights = arrays(scored)
    sizes = list(range(1, len(scored) + 1))
    assert best_of(np.zeros(len(scored)), rights, sizes) == pytest.approx([rights.mean()] * len(sizes))


def test_a_failed_score_is_chosen_only_among_failures():
    rights = np.array([True, False])
    assert best_of(np.array([-np.inf, -5.0]), rights, [2])[0] == 0.0
    assert best_of(np.array([-np.inf, -np.inf]), rights, [2])[0] == 0.5


def test_the_first_of_equal_scores_is_chosen_by_the_published_rule():
    assert best_of(np.array([1.0, 1.0]), np.array([True, False]), [2], "first")[0] == 1.0


def test_a_thousand_responses_are_no_harder():
    rights = np.arange(1024) == 700
    assert best_of(-np.arange(1024.0), rights, [1, 1024]) == pytest.approx([1 / 1024, 0.0])


@pytest.mark.parametrize("size", [0, 3])
def test_a_size_out_of_range_is_refused(size):
    with pytest.raises(ValueError, match=f"cannot choose among {size} of 2"):
        pass_at(np.array([True, False]), [size])
