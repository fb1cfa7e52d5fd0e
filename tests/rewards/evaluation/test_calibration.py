from __future__ import annotations

import numpy as np
import pytest

from rewards.evaluation.calibration import calibration, steps_up_to_error


def test_probabilities_that_come_true_have_no_error():
    rng = np.random.default_rng(0)
    values = rng.random(40_000)
    found = calibration(values, rng.random(40_000) < values)
    assert found.error < 0.01
    assert found.brier == pytest.approx(1 / 6, abs=0.01)


def test_overconfidence_is_the_distance_to_the_share_that_is_true():
    found = calibration([1.0] * 10, [True] * 7 + [False] * 3)
    assert found.error == pytest.approx(0.3)
    assert found.base == pytest.approx(0.7)
    assert found.auc == 0.5
    assert [(one.low, one.high, one.count) for one in found.bins] == [(0.9, 1.0, 10)]


def test_with_one_class_there_is_no_auc():
    assert calibration([0.2, 0.8], [True, True]).auc is None


@pytest.mark.parametrize(("values", "truths"), [([], []), ([0.5], [True, False]), ([1.5], [True]), ([np.nan], [True])])
def test_numbers_that_are_not_probabilities_are_refused(values, truths):
    with pytest.raises(ValueError, match="probabilit"):
        calibration(values, truths)


def test_steps_after_the_first_wrong_one_have_no_truth():
    assert steps_up_to_error([0.9, 0.2, 0.7], 1) == [(0.9, True), (0.2, False)]
    assert steps_up_to_error([0.9, 0.2], -1) == [(0.9, True), (0.2, True)]
