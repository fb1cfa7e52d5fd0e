import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from rewards.types import Problem, Score
from rl.hacking.measures import exploitation_metrics, repetition, watched_metrics, within_groups
from rl.types import Answer, AnswerGroup, Sample


def group(scores: Sequence[float | None], tokens: Sequence[int], correct: Sequence[bool | None]) -> AnswerGroup:
    answers = []
    for score, length, mark in zip(scores, tokens, correct, strict=True):
        sample = Sample((1,), tuple(range(length)), (0.0,) * length, "text", "stop", 0)
        answers.append(Answer(sample, Score.failed("no") if score is None else Score.of(score), mark))
    return AnswerGroup(Problem("p", "?"), tuple(answers))


def naive_repetition(ids: Sequence[int]) -> float:
    repeated = total = 0
    for start in range(len(ids) - 3):
        total += 1
        earlier = [list(ids[other : other + 4]) for other in range(start)]
        repeated += list(ids[start : start + 4]) in earlier
    return repeated / total


@given(st.lists(st.integers(0, 2), min_size=4, max_size=40))
def test_repetition_is_the_share_of_4_grams_seen_before(ids: list[int]) -> None:
    assert repetition(ids) == pytest.approx(naive_repetition(ids))


@pytest.mark.parametrize("ids", [[], [1], [1, 1, 1]])
def test_a_response_shorter_than_a_4_gram_has_no_repetition(ids: list[int]) -> None:
    assert repetition(ids) is None


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=2, max_size=12))
def test_one_group_gives_spearmans_correlation(pairs: list[tuple[int, int]]) -> None:
    one, other = [float(a) for a, _ in pairs], [float(b) for _, b in pairs]
    found = within_groups([(one, other)])
    if len(set(one)) == 1 or len(set(other)) == 1:
        assert found is None
    else:
        assert found == pytest.approx(spearmanr(one, other).statistic)


def test_differences_between_groups_do_not_count() -> None:
    """Long answers to hard problems, with low rewards, say nothing about length within a problem."""
    assert within_groups([([1.0, 2.0], [5.0, 6.0]), ([11.0, 12.0], [1.0, 2.0])]) == pytest.approx(1.0)


def test_failed_scores_are_left_out_of_the_correlation_with_length() -> None:
    found = exploitation_metrics([group([1.0, None, 3.0], [4, 99, 6], [None] * 3)])
    assert found["reward/length_correlation"] == pytest.approx(1.0)
    assert found["response/repetition"] == 0.0


def test_what_is_undefined_is_left_out() -> None:
    assert exploitation_metrics([group([1.0, 1.0], [2, 2], [None, None])]) == {}


def test_a_watched_reward_is_compared_with_the_reward_and_with_the_truth() -> None:
    groups = [group([1.0, 2.0, 3.0], [5, 5, 5], [False, False, True])]
    watched = [[Score.of(0.9), Score.failed("no"), Score.of(0.1)]]
    found = watched_metrics("orm", groups, watched)
    assert found["watch/orm/mean"] == pytest.approx(0.5)
    assert found["watch/orm/failed"] == 1
    assert found["watch/orm/agreement"] == pytest.approx(-1.0)
    assert found["watch/orm/auc"] == 0.0
    assert all(math.isfinite(value) for value in found.values())


def test_a_watched_reward_whose_scores_all_fail_has_only_its_count() -> None:
    groups = [group([1.0, 2.0], [5, 5], [None, None])]
    assert watched_metrics("orm", groups, [[Score.failed("a")] * 2]) == {"watch/orm/failed": 2}


def test_agreement_is_the_naive_one_over_many_groups() -> None:
    generator = np.random.default_rng(0)
    groups, watched, left, right = [], [], [], []
    for _ in range(5):
        own, other = generator.random((2, 6))
        groups.append(group(own.tolist(), [5] * 6, [None] * 6))
        watched.append([Score.of(float(value)) for value in other])
        left += [sorted(own).index(value) - 2.5 for value in own]
        right += [sorted(other).index(value) - 2.5 for value in other]
    assert watched_metrics("a", groups, watched)["watch/a/agreement"] == pytest.approx(np.corrcoef(left, right)[0, 1])
