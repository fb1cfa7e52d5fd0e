from __future__ import annotations

import numpy as np
import pytest

from rewards.evaluation.benchmark_rows import Steps
from rewards.evaluation.intervals import Bootstrap
from rewards.evaluation.measure import Bench, Subject
from rewards.evaluation.options import EvaluationOptions
from rewards.evaluation.process_bench import best_threshold, first_error, process_bench
from rewards.evaluation.process_bench_report import report
from rewards.types import Problem

LABELS = [0, 1, 1, 3, -1, -1, -1, 2]
STEPS = [4, 3, 5, 4, 4, 3, 2, 6]


def figures(predictions, labels=LABELS):
    found = process_bench(labels, predictions, Bootstrap(len(labels), resamples=5))
    return found.error.value, found.correct.value, found.f1.value


def test_a_constant_that_passes_everything_finds_no_error():
    assert figures([first_error([1.0] * n) for n in STEPS]) == (0.0, 1.0, 0.0)


def test_a_constant_that_fails_everything_finds_the_errors_of_the_first_step():
    assert figures([first_error([0.0] * n) for n in STEPS]) == (pytest.approx(1 / 5), 0.0, 0.0)


def test_a_random_scorer_gets_the_computed_figures():
    rng = np.random.default_rng(0)
    labels, steps = LABELS * 2000, STEPS * 2000
    error, correct, f1 = figures([first_error(rng.random(n), 0.2) for n in steps], labels)
    expected_error = np.mean([0.8**label * 0.2 for label in LABELS if label >= 0])
    expected_correct = np.mean([0.8**n for label, n in zip(LABELS, STEPS, strict=True) if label < 0])
    assert error == pytest.approx(expected_error, abs=0.01)
    assert correct == pytest.approx(expected_correct, abs=0.02)
    assert f1 == pytest.approx(2 * error * correct / (error + correct))


def test_a_perfect_scorer_is_perfect_and_its_interval_a_point():
    assert process_bench(LABELS, LABELS, Bootstrap(8)).f1 == (1.0, 1.0, 1.0)


def test_f1_is_the_published_harmonic_mean():
    labels = [0] * 1000 + [-1] * 1000
    predictions = [0] * 338 + [1] * 662 + [-1] * 990 + [0] * 10
    assert figures(predictions, labels)[2] == pytest.approx(0.504, abs=0.0005)


def test_a_missing_prediction_never_counts_as_correct():
    assert figures([None] * 8) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(("labels", "lacking"), [([-1, -1], 0), ([0, 1], 1)])
def test_a_missing_class_has_no_accuracy_and_no_f1(labels, lacking):
    found = figures(labels, labels)
    assert found[lacking] is None
    assert found[2] is None
    assert found[1 - lacking] == 1.0


def test_one_half_is_a_plus():
    assert first_error([0.9, 0.5, 0.49]) == 2


def test_the_threshold_with_the_best_f1_is_found():
    steps = [[0.7, 0.4], [0.7, 0.65], [0.62, 0.7], None]
    labels = [1, -1, -1, 0]
    threshold = best_threshold(labels, steps)
    assert 0.4 < threshold <= 0.62
    assert best_threshold([-1, -1], [[0.5], [0.4]]) is None


def test_steps_count_as_wrong_below_the_options_threshold_or_the_rewards_own_or_one_half():
    subjects = [Subject("own", None, threshold=0.0), Subject("none", None)]  # type: ignore[arg-type]
    assert Bench(subjects, EvaluationOptions(), []).thresholds == {"own": 0.0, "none": 0.5}
    assert Bench(subjects, EvaluationOptions(threshold=0.2), []).thresholds == {"own": 0.2, "none": 0.2}
    rows = [Steps(1, Problem("p", "?"), ("a", "b"), 1)]
    found = report(rows, {"own": [(0.1, -0.1)], "none": [(0.1, -0.1)]}, {"own": 0.0, "none": 0.5}, EvaluationOptions())
    wrong = {name: one["error"].value for name, one in found.figures["process_bench"].items()}
    assert wrong == {"own": 1.0, "none": 0.0}
    assert "a step counts as wrong below 0 (own), 0.5 (none)" in found.tables[0].note
