from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.evaluation.agreement import agreement
from rewards.evaluation.ranking import auc, concordance, spearman

labelled = st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=12)


@given(labelled)
def test_auc_is_the_share_of_pairs_that_the_right_one_wins(rows):
    values, truths = (np.array(column) for column in zip(*rows, strict=True))
    pairs = [(a, b) for a, right in rows for b, wrong in rows if right and not wrong]
    expected = np.mean([0.5 + 0.5 * np.sign(a - b) for a, b in pairs]) if pairs else None
    assert auc(values.astype(float), truths) == (expected if expected is None else pytest.approx(expected))


def test_spearman_sees_order_only_and_knows_when_there_is_none():
    values = np.array([1.0, 2.0, 4.0])
    assert spearman(values, np.exp(values)) == pytest.approx(1)
    assert spearman(values, -values) == pytest.approx(-1)
    assert spearman(values, np.ones(3)) is None
    assert spearman(values[:1], values[:1]) is None


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=12))
def test_spearman_is_the_correlation_of_ranks_which_equal_values_share(rows):
    columns = [np.array(column, float) for column in zip(*rows, strict=True)]
    shared = [[np.mean([np.sum(column < x) + 1, np.sum(column <= x)]) for x in column] for column in columns]
    constant = any(len(set(column)) == 1 for column in columns)
    assert spearman(*columns) == (None if constant else pytest.approx(np.corrcoef(shared)[0, 1]))


def test_concordance_counts_pairs_that_both_order():
    assert concordance(np.array([1.0, 2.0, 3.0]), np.array([1.0, 1.0, 0.0])) == (0.0, 2)


def test_two_rewards_agree_in_order_in_choice_and_in_their_mistakes():
    first = [np.array([0.9, 0.1, 0.5]), np.array([0.2, 0.3, np.nan])]
    second = [np.array([0.8, 0.2, 0.9]), np.array([0.1, 0.4, 0.5])]
    rights = [np.array([False, True, False]), np.array([False, True, True])]
    texts = [["a", "b", "a"], ["c", "d", "e"]]
    found = agreement(first, second, rights, texts)
    assert found.order == pytest.approx(3 / 4)
    assert found.choice == 1.0  # equal texts are the same choice
    assert found.both_wrong == 1.0
    assert found.responses == 5


def test_agreement_of_rewards_that_scored_nothing_together_does_not_exist():
    nothing = [np.array([np.nan, 1.0])]
    found = agreement(nothing, [np.array([1.0, np.nan])], [np.array([True, False])], [["a", "b"]])
    assert (found.correlation, found.order, found.choice, found.both_wrong, found.responses) == (None,) * 4 + (0,)
