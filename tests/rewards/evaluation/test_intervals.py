from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewards.evaluation.intervals import Bootstrap
from rewards.evaluation.process_bench import process_bench
from rewards.evaluation.trust import trust


def test_the_interval_of_a_share_is_that_of_theory():
    values = np.array([1.0] * 300 + [0.0] * 700)
    found = Bootstrap(1000, resamples=4000).mean(values)
    width = 1.96 * np.sqrt(0.3 * 0.7 / 1000)
    assert found.value == 0.3
    assert (found.low, found.high) == pytest.approx((0.3 - width, 0.3 + width), abs=0.004)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    hits = 0
    for trial in range(200):
        found = Bootstrap(100, resamples=300, level=0.9, seed=trial).mean((rng.random(100) < 0.4).astype(float))
        hits += found.low <= 0.4 <= found.high
    assert 0.83 <= hits / 200 <= 0.96


def test_the_same_seed_gives_the_same_interval():
    values = np.random.default_rng(0).random(50)
    assert Bootstrap(50, seed=3).mean(values) == Bootstrap(50, seed=3).mean(values)
    assert Bootstrap(50, seed=3).mean(values) != Bootstrap(50, seed=4).mean(values)


def test_a_figure_that_does_not_exist_has_no_interval():
    assert Bootstrap(3).ratio(np.zeros(3), np.zeros(3)) == (None, None, None)


def test_resamples_without_the_figure_are_left_out_of_the_interval():
    found = Bootstrap(2, resamples=200).ratio(np.array([1.0, 0.0]), np.array([1.0, 0.0]))
    assert found == (1.0, 1.0, 1.0)


def test_a_figure_that_exists_in_no_resample_has_no_interval():
    rare = np.array([1.0, *np.zeros(999)])
    found = [Bootstrap(1000, resamples=1, seed=seed).ratio(rare, rare) for seed in range(20)]
    assert {one.value for one in found} == {1.0}
    assert {(one.low, one.high) for one in found} == {(None, None), (1.0, 1.0)}


@settings(deadline=None)
@given(
    labels=st.lists(st.integers(-1, 3), min_size=1, max_size=8),
    data=st.data(),
    resamples=st.integers(1, 4),
    seed=st.integers(0, 50),
)
def test_any_small_report_is_made_whatever_the_resamples(labels, data, resamples, seed):
    shape = len(labels)
    bootstrap = Bootstrap(shape, resamples=resamples, seed=seed)
    guesses = data.draw(st.lists(st.none() | st.integers(-1, 3), min_size=shape, max_size=shape))
    found = process_bench(labels, guesses, bootstrap)
    sizes = data.draw(st.lists(st.integers(1, 3), min_size=shape, max_size=shape))
    scores = [np.array(data.draw(st.lists(st.sampled_from([0.0, 1.0, np.nan]), min_size=n, max_size=n))) for n in sizes]
    rights = [np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n))) for n in sizes]
    about = trust(scores, rights, [np.ones(n) for n in sizes], bootstrap)
    for estimate in (found.error, found.correct, found.f1, about.gain, about.group_auc):
        assert (estimate.low is None) == (estimate.high is None)
        assert estimate.low is None or (estimate.value is not None and estimate.low <= estimate.high)


def test_two_methods_that_differ_on_every_problem_alike_differ_surely():
    bootstrap = Bootstrap(100)
    worse = np.random.default_rng(0).random(100)
    assert bootstrap.mean((worse + 0.1) - worse) == pytest.approx((0.1, 0.1, 0.1))


@pytest.mark.parametrize(("problems", "level"), [(0, 0.95), (3, 1.0)])
def test_what_cannot_work_is_refused(problems, level):
    with pytest.raises(ValueError, match=r"bootstrap|level"):
        Bootstrap(problems, level=level)
