"""Which figure before training predicted the truth after it."""

from __future__ import annotations

import pytest
from scipy import stats

from rewards.types import Score
from rl.study.predictors import first_rollout, predictions
from rl.study.samples import Drawn
from rl.study.words import what_predicted


def drawn(problem: str, value: float | None, correct: bool | None, text: str = "abc") -> Drawn:
    score = Score.failed("no") if value is None else Score.of(value)
    return Drawn(1, "train", problem, "?", "2", text, 3, "stop", correct, score, 0)


def test_the_first_rollout_measures_the_reward_before_training() -> None:
    samples = [drawn("p", 0.9, False), drawn("p", 0.1, True), drawn("q", 0.9, True), drawn("q", 0.2, False)]
    found = first_rollout([*samples, drawn("q", None, False)])
    assert found["AUC"] == pytest.approx(0.375) and found["AUC within a problem"] == pytest.approx(0.5)
    assert found["best of n"] == 0.5 and found["top-scored wrong"] == 0.5 and found["failed"] == pytest.approx(0.2)


def test_ungraded_samples_measure_nothing() -> None:
    assert first_rollout([drawn("p", 0.5, None)]) == {} and first_rollout([]) == {}


def test_the_figure_that_orders_rewards_as_the_truth_does_comes_first() -> None:
    after = dict(zip("abcdef", [0.3, 0.5, 0.6, 0.7, 0.8, 0.9], strict=True))
    noise = [0.5, 0.1, 0.6, 0.2, 0.4, 0.3]
    before = {
        reward: {"AUC": after[reward] / 2, "flat": other, "failed": 0.0}
        for reward, other in zip(after, noise, strict=True)
    }
    found = predictions(before, after)
    first, second, third = found
    assert what_predicted(found).startswith("AUC comes closest, with a rank correlation of +1.00 over 6 rewards: more")
    assert (first.figure, first.correlation, first.rewards) == ("AUC", pytest.approx(1.0), 6)
    assert first.p == pytest.approx(2 / 720), "exact: two of all orders are as extreme"
    assert second.correlation == pytest.approx(stats.spearmanr(noise, list(after.values())).statistic)
    assert (third.figure, third.correlation, third.p) == ("failed", None, None)
    assert first.adjusted == pytest.approx(2 * 2 / 720)


def test_chance_is_not_ruled_out_by_four_rewards() -> None:
    after = dict(zip("abcd", [0.3, 0.5, 0.6, 0.7], strict=True))
    [found] = predictions({reward: {"AUC": value} for reward, value in after.items()}, after)
    assert found.p == pytest.approx(2 / 24)
    assert "but 4 rewards are too few to rule out chance (p = 0.083)" in what_predicted([found])
    assert what_predicted([]).startswith("No figure")


def test_too_few_rewards_predict_nothing() -> None:
    after = {"a": 0.1, "b": 0.2, "c": 0.3}
    assert predictions({reward: {"AUC": value} for reward, value in after.items()}, after) == []
