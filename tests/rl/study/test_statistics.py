"""Statistics of a study: equal to naive versions and to scipy's simulated power, and honest with few seeds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rl.study.statistics import Key, compare, improvement, seeds_needed, summary


def seeded(*values: float, stratum: str = "") -> dict[Key, float]:
    return {Key(stratum, seed): value for seed, value in enumerate(values, start=1)}


def test_the_interquartile_mean_leaves_a_quarter_out_at_both_ends() -> None:
    found = summary(seeded(0.0, 0.4, 0.5, 0.6, 0.7, 9.0, 0.5, 0.5))
    assert found.iqm.value == pytest.approx(np.mean([0.5, 0.5, 0.5, 0.6]))
    assert found.iqm.low is not None and found.iqm.low < found.iqm.value < (found.iqm.high or 0)


def test_one_run_has_no_interval_and_equal_runs_have_a_point() -> None:
    assert summary(seeded(0.5)).iqm == (0.5, None, None)
    assert summary(seeded(0.5, 0.5, 0.5)).iqm == pytest.approx((0.5, 0.5, 0.5))
    with pytest.raises(ValueError, match="at least one"):
        summary({})


def test_strata_are_resampled_separately() -> None:
    """Two strata far apart, each without spread: only resampling across them would give an interval."""
    values = seeded(0.1, 0.1, stratum="ppo") | seeded(0.9, 0.9, stratum="grpo")
    assert summary(values).iqm == pytest.approx((0.5, 0.5, 0.5))


@given(st.lists(st.integers(0, 4), min_size=1, max_size=6), st.lists(st.integers(0, 4), min_size=1, max_size=6))
def test_the_probability_of_improvement_counts_won_pairs_and_half_of_the_ties(ours: list[int], theirs: list[int]):
    wins = [(one > other) + 0.5 * (one == other) for one in ours for other in theirs]
    assert improvement(seeded(*ours), seeded(*theirs)).value == pytest.approx(np.mean(wins))


def test_the_probability_of_improvement_is_averaged_over_common_strata() -> None:
    ours = seeded(1.0, 1.0, stratum="a") | seeded(0.0, 0.0, stratum="b") | seeded(5.0, stratum="alone")
    theirs = seeded(0.5, 0.5, stratum="a") | seeded(0.5, 0.5, stratum="b")
    assert improvement(ours, theirs).value == pytest.approx(0.5)
    assert improvement(seeded(1.0, stratum="a"), seeded(1.0, stratum="b")).value is None


def test_settings_are_compared_on_the_seeds_they_share() -> None:
    first = {Key("", "1"): 0.5, Key("", "2"): 0.7, Key("", "3"): 0.9}
    second = {Key("", "2"): 0.61, Key("", "3"): 0.79, Key("", "4"): 0.0}
    [found] = compare({"a": first, "b": second})
    assert found.paired and found.pairs == 2
    assert found.difference.value == pytest.approx(0.1)
    assert found.p == pytest.approx(stats.ttest_rel([0.7, 0.9], [0.61, 0.79]).pvalue)


def test_settings_without_common_seeds_are_compared_unpaired() -> None:
    first, second = [0.5, 0.6, 0.7], [0.1, 0.3, 0.2]
    [found] = compare({"a": seeded(*first), "b": {Key("", f"x{value}"): value for value in second}})
    assert not found.paired and found.pairs == 0
    assert found.p == pytest.approx(stats.ttest_ind(first, second, equal_var=False).pvalue)


def test_pairing_by_seed_finds_a_difference_that_seeds_hide() -> None:
    base = np.array([0.2, 0.4, 0.6, 0.8, 0.9])
    more = np.array([0.05, 0.06, 0.05, 0.04, 0.05])
    [found] = compare({"a": seeded(*(base + more)), "b": seeded(*base)})
    assert found.apart and found.difference.low is not None and found.difference.low > 0
    assert stats.ttest_ind(base + 0.05, base).pvalue > 0.5


def test_one_seed_tells_nothing() -> None:
    [found] = compare({"a": seeded(0.9), "b": seeded(0.1)})
    assert found.p is None and found.adjusted is None and not found.apart and found.needed is None


@pytest.mark.parametrize("values", [(0.5, 0.5), (0.5, 0.7), (0.1, 0.2, 0.9)])
def test_equal_settings_are_not_apart(values: tuple[float, ...]) -> None:
    [found] = compare({"a": seeded(*values), "b": seeded(*values)})
    assert found.p == 1.0 and not found.apart and found.difference.value == 0 and found.needed is None


def test_more_comparisons_ask_for_more_evidence() -> None:
    rng = np.random.default_rng(0)
    noise = {f"setting {number}": seeded(*rng.normal(0.5, 0.1, 5)) for number in range(12)}
    found = compare(noise)
    assert len(found) == 66
    assert all(one.adjusted is not None and one.p is not None and one.adjusted >= one.p for one in found)
    expected = stats.false_discovery_control([one.p for one in found], method="bh")
    assert [one.adjusted for one in found] == pytest.approx(list(expected))
    assert not any(one.apart for one in found)


@pytest.mark.parametrize(("difference", "spread"), [(0.05, 0.05), (0.02, 0.05), (-0.1, 0.04)])
def test_the_seeds_needed_have_the_power_promised(difference: float, spread: float) -> None:
    """scipy simulates the power of the paired t-test with that many seeds, and with one fewer."""
    needed = seeds_needed(difference, spread, alpha=0.05)
    assert needed is not None

    def power(seeds: int) -> float:
        rng = np.random.default_rng(1)
        return stats.power(
            lambda x, axis=-1: stats.ttest_1samp(x, 0.0, axis=axis),
            lambda size: rng.normal(difference, spread, size),
            seeds,
            significance=0.05,
            n_resamples=20_000,
        ).power

    assert power(needed) > 0.79
    assert needed <= 2 or power(needed - 1) < 0.81


def test_a_small_difference_needs_more_seeds_than_anyone_has() -> None:
    assert seeds_needed(0.0001, 0.1, alpha=0.05) is None
    assert seeds_needed(0.0, 0.1, alpha=0.05) is None
    assert seeds_needed(0.1, 0.0, alpha=0.05) == 2


def test_with_strata_a_seed_gives_a_pair_in_each() -> None:
    rng = np.random.default_rng(2)
    base = rng.normal(0.5, 0.1, 5)
    subjects = {
        name: {
            Key(stratum, seed): value + shift + rng.normal(0, 0.05)
            for stratum in "xy"
            for seed, value in enumerate(base)
        }
        for name, shift in (("a", 0.02), ("b", 0.0))
    }
    one = {
        name: {key: value for key, value in values.items() if key.stratum == "x"} for name, values in subjects.items()
    }
    [both], [single] = compare(subjects), compare(one)
    assert both.pairs == 10 and single.pairs == 5
