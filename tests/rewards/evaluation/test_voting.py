from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewards.evaluation.voting import exact, majority

TRUTH = 1
answers = st.lists(st.one_of(st.none(), st.integers(0, 2)), min_size=1, max_size=6)


def vote(classes, sizes, weights=None, most=10_000, seed=0):
    rights = np.array([number == TRUTH for number in classes])
    columns = np.ones((len(classes), 1)) if weights is None else np.array(weights, dtype=float)[:, None]
    return majority(classes, rights, sizes, columns, np.random.default_rng(seed), most)[:, 0]


def by_brute_force(classes, size, weights) -> float:
    found = []
    for chosen in combinations(range(len(classes)), size):
        votes: dict[int, float] = {}
        for place in chosen:
            if classes[place] is not None:
                votes[classes[place]] = votes.get(classes[place], 0) + weights[place]
        lead = [number for number, count in votes.items() if count == max(votes.values())]
        found.append((TRUTH in lead) / len(lead) if lead else 0.0)
    return sum(found) / len(found)


@settings(max_examples=40, deadline=None)
@given(answers, st.data())
def test_voting_is_the_mean_over_all_subsets_and_equal_votes_share(classes, data):
    weights = data.draw(st.lists(st.integers(0, 3), min_size=len(classes), max_size=len(classes)))
    sizes = list(range(1, len(classes) + 1))
    expected = [by_brute_force(classes, size, weights) for size in sizes]
    assert vote(classes, sizes, weights) == pytest.approx(expected, abs=1e-12)


def test_random_subsets_come_near_to_all_of_them():
    classes = [1, 1, 1, 0, 0, 2, 2, 3, 4, None]
    assert vote(classes, [4], most=4000)[0] == vote(classes, [4])[0]
    assert vote(classes * 3, [8], most=4000) == pytest.approx(vote(classes * 3, [8], most=4000, seed=1), abs=0.03)


def test_whether_all_subsets_were_counted_can_be_asked():
    assert exact(4, 2, 6)
    assert not exact(4, 2, 5)


def test_a_response_without_an_answer_does_not_vote():
    assert vote([None, None, 1], [3])[0] == 1.0
    assert vote([None, None], [1, 2]) == pytest.approx([0.0, 0.0])


def test_a_heavier_vote_counts_more():
    assert vote([0, 0, 1], [3], [0.2, 0.2, 0.9])[0] == 1.0
    assert vote([0, 0, 1], [3])[0] == 0.0


def test_negative_scores_cannot_be_votes():
    with pytest.raises(ValueError, match="negative"):
        vote([0, 1], [2], [-1, 1])
