from __future__ import annotations

import numpy as np
import pytest

from rewards.evaluation.intervals import Bootstrap
from rewards.evaluation.trust import concerns, in_one_line, trust

RNG = np.random.default_rng(0)
RIGHTS = [RNG.random(8) < 0.4 for _ in range(60)]
LENGTHS = [RNG.integers(20, 200, 8).astype(float) for _ in range(60)]


def report(values, rights=RIGHTS, lengths=LENGTHS):
    return trust(values, rights, lengths, Bootstrap(len(values)))


def test_the_truth_itself_deserves_trust():
    found = report([right + 0.1 * RNG.random(8) for right in RIGHTS])
    assert found.auc == 1.0
    assert found.group_auc.value == 1.0
    assert found.best == found.oracle
    assert found.top_wrong == 0.0
    assert concerns(found) == []


def test_wrong_responses_that_beat_every_right_one_are_counted_where_there_is_a_right_one():
    rights = [np.array([True, False, False, False]), np.array([True, True, False, False]), np.zeros(2, dtype=bool)]
    values = [np.array([0.5, 0.6, 0.5, 0.1]), np.array([0.2, 0.9, 0.8, np.nan]), np.ones(2)]
    lengths = [np.ones(len(right)) for right in rights]
    assert report(values, rights, lengths).outscoring == pytest.approx(1 / 5)
    assert report([np.ones(4)], [np.ones(4, dtype=bool)], [np.ones(4)]).outscoring is None


def test_a_random_reward_is_said_to_be_one():
    said = concerns(report([RNG.random(8) for _ in RIGHTS]))
    assert "within a problem it does not tell right from wrong better than chance" in said
    assert "choosing by it is not clearly better than choosing at random" in said


def test_a_reward_that_favours_length_is_detected():
    said = concerns(report([right + length / 50 for right, length in zip(RIGHTS, LENGTHS, strict=True)]))
    assert any(line.startswith("it favours long responses: its correlation with length is +0.9") for line in said)


def test_a_reward_that_tells_problems_apart_but_not_responses_is_not_trusted():
    rights = [np.full(8, index % 2 == 0) for index in range(58)] + [np.arange(8) < 4, np.arange(8) < 4]
    found = report([right.mean() + 0.001 * RNG.random(8) for right in rights], rights)
    assert found.auc > 0.9
    assert any("within a problem" in line for line in concerns(found))


def test_a_constant_reward_gains_nothing_and_is_flat():
    found = report([np.ones(8) for _ in RIGHTS])
    assert found.gain.value == pytest.approx(0)
    assert found.flat == 1.0
    assert found.at_top is None
    assert any("all responses score the same" in line for line in concerns(found))


def test_a_crowded_top_is_called_saturated():
    values = [np.where(right | (RNG.random(8) < 0.7), 1.0, RNG.random(8)) for right in RIGHTS]
    assert any(line.startswith("saturated") for line in concerns(report(values)))


def test_failed_scores_are_counted_and_never_chosen():
    values = [np.where(right, np.nan, 0.5) for right in RIGHTS]
    found = report(values)
    assert found.failed == pytest.approx(np.concatenate(RIGHTS).mean())
    assert found.best == pytest.approx(np.mean([right.all() for right in RIGHTS]))
    assert any("could not be scored" in line for line in concerns(found))


@pytest.mark.parametrize(("right", "word"), [(True, "right"), (False, "wrong")])
def test_where_every_sample_is_alike_nothing_is_said_of_the_reward(right, word):
    rights = [np.full(4, right)] * 5
    assert concerns(report([RNG.random(4)] * 5, rights, [np.arange(4.0)] * 5)) == [
        f"every sample is {word}, which says nothing about the reward"
    ]


def test_one_line_says_what_each_figure_is_of():
    line = in_one_line(report([right * 1.0 for right in RIGHTS]))
    assert "AUC 1.00 against the verifier, 1.00 within a problem, its best of 8 is right in" in line
    assert "\n" not in line


def test_one_response_per_problem_is_enough_for_the_rest():
    rights = [np.array([index % 3 == 0]) for index in range(60)]
    found = report([right * 1.0 for right in rights], rights, [np.array([10.0 + i]) for i in range(60)])
    assert found.auc == 1.0
    assert "best of" not in in_one_line(found)
    assert concerns(found) == []
