"""Preference pairs: the loss against the papers' formulas, and the learner's steps against plain torch."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from rl.learner.batching import Sizes, plan_pairs, rows_of
from rl.learner.losses import PreferenceLossSettings
from rl.types import Preferences
from tests.rl.conftest import random_batch
from tests.rl.learner import reference
from tests.rl.learner.rig import Ranks, Stage, settings_for

BUDGET = 160  # micro_batch_tokens: two pairs of the longest sequences


@pytest.fixture
def pairs() -> Preferences:
    """Seven pairs of nine rows, three of them of one prompt; one chosen response is empty, one row is in no pair."""
    chosen, rejected = [2, 2, 3, 1, 6, 6, 7], [3, 4, 4, 0, 7, 8, 8]
    return Preferences(random_batch(9, seed=5, shared=True), torch.tensor(chosen), torch.tensor(rejected))


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


@pytest.mark.parametrize("keys", [{"beta": 0.1}, {"beta": 0.3, "label_smoothing": 0.2}, {"beta": 0.2, "ipo": True}])
def test_the_loss_of_a_pair_equals_the_papers(keys: dict[str, Any]) -> None:
    import rl.learner.openrlhf_cpu  # isort: skip  # noqa: F401
    from openrlhf.models import DPOLoss

    settings = PreferenceLossSettings(**keys)
    drawn = torch.randn(4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3
    loss, chosen_reward, rejected_reward = DPOLoss(settings.beta, settings.label_smoothing, settings.ipo)(*drawn)
    losses = []
    for now_chosen, now_rejected, then_chosen, then_rejected in drawn.T.tolist():
        difference = (now_chosen - then_chosen) - (now_rejected - then_rejected)
        if settings.ipo:
            losses.append((difference - 1 / (2 * settings.beta)) ** 2)
        else:
            right = sigmoid(settings.beta * difference)
            losses.append(
                -(1 - settings.label_smoothing) * math.log(right) - settings.label_smoothing * math.log(1 - right)
            )
    assert float(loss) == pytest.approx(sum(losses) / 6, abs=1e-9)
    assert torch.allclose(chosen_reward, settings.beta * (drawn[0] - drawn[2]))
    assert torch.allclose(rejected_reward, settings.beta * (drawn[1] - drawn[3]))


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("count", "stage", "loss", "keys", "with_reference"),
    [
        (1, 0, PreferenceLossSettings(), {"micro_batch_tokens": 10_000}, True),
        (1, 2, PreferenceLossSettings(ipo=True), {"epochs": 2}, False),
        (2, 0, PreferenceLossSettings(label_smoothing=0.1), {"epochs": 2, "minibatches": 2}, False),
        (2, 2, PreferenceLossSettings(beta=0.5, nll_coefficient=0.3), {"minibatches": 3}, True),
        (2, 3, PreferenceLossSettings(), {"epochs": 2}, True),
        (2, 3, PreferenceLossSettings(), {"minibatches": 9}, False),  # one pair a step: a rank has none
    ],
)
def test_steps_on_pairs_equal_plain_torch(
    ranks: dict[int, Ranks],
    pairs: Preferences,
    count: int,
    stage: Stage,
    loss: PreferenceLossSettings,
    keys: dict[str, Any],
    with_reference: bool,
) -> None:
    group, settings = ranks[count], settings_for(count, stage, **({"micro_batch_tokens": BUDGET} | keys))
    group.load(settings, loss, with_reference=with_reference)
    metrics = group.update(pairs, settings, seed=3)
    expected = reference.train_pairs(group.folder, pairs, settings, loss, seed=3)
    assert metrics["loss"] == pytest.approx(sum(expected.losses) / len(expected.losses), rel=1e-4)
    assert metrics["grad_norm"] == pytest.approx(sum(expected.norms) / len(expected.norms), rel=1e-3)
    assert metrics["steps"] == len(expected.losses)
    assert metrics["pairs"] == 7
    assert reference.largest_difference(group.weights(), expected) < 1e-6


@pytest.mark.e2e
def test_training_on_pairs_widens_their_margin_from_zero(ranks: dict[int, Ranks], pairs: Preferences) -> None:
    group, settings = ranks[2], settings_for(2, 2, micro_batch_tokens=BUDGET, learning_rate=1e-3)
    group.load(settings, PreferenceLossSettings())
    first = group.update(pairs, settings, seed=0)
    assert (first["margin"], first["accuracy"], first["kl"]) == pytest.approx((0, 0, 0), abs=1e-5)
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-5)
    second = group.update(pairs, settings, seed=0)
    assert second["margin"] > 0.01
    assert second["accuracy"] > 0.8
    assert second["kl"] > 0
    group.all("refresh_reference")
    assert group.update(pairs, settings, seed=0)["margin"] == pytest.approx(0, abs=1e-5)


@pytest.mark.e2e
def test_a_loss_that_is_not_finite_stops_before_the_step(ranks: dict[int, Ranks], pairs: Preferences) -> None:
    group, settings = ranks[2], settings_for(2, 2, micro_batch_tokens=BUDGET)
    group.load(settings, PreferenceLossSettings(beta=1e-30, ipo=True))  # its target margin is beyond fp32 when squared
    before = group.weights()
    with pytest.raises(RuntimeError, match=r"the loss is not finite .*the step was not taken"):
        group.update(pairs, settings, seed=0)
    weights = group.weights()
    assert all(torch.equal(weights[name], before[name]) for name in before)


def test_pairs_too_long_for_a_micro_batch_and_no_pairs_at_all_are_refused(pairs: Preferences) -> None:
    with pytest.raises(ValueError, match=r"learner\.micro_batch_tokens is 30, but a pair of sequences has \d+"):
        plan_pairs(pairs, settings_for(1, 0, micro_batch_tokens=30), seed=0, shared=True)
    nothing = Preferences(pairs.batch, pairs.chosen[:0], pairs.rejected[:0])
    with pytest.raises(ValueError, match="no preference pairs"):
        plan_pairs(nothing, settings_for(1, 0), seed=0, shared=True)
    with pytest.raises(ValueError, match="7 chosen responses do not match 6"):
        plan_pairs(Preferences(pairs.batch, pairs.chosen, pairs.rejected[:6]), settings_for(1, 0), seed=0, shared=True)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_pair_is_in_one_micro_batch_and_a_response_is_read_once_in_it(
    pairs: Preferences, count: int, shared: bool
) -> None:
    settings = settings_for(count, 0, micro_batch_tokens=BUDGET)
    (step,) = plan_pairs(pairs, settings, seed=0, shared=shared)
    sizes = Sizes.of(pairs.batch, shared=shared)
    assert sorted(pair for micros in step.micros for micro in micros for pair in micro) == list(range(len(pairs)))
    for micro in (micro for micros in step.micros for micro in micros):
        rows = rows_of(pairs, micro)
        assert len(rows) == len(set(rows)) and sizes.tokens(rows) <= BUDGET
    assert step.tokens == int(pairs.batch.response_mask.sum(dim=1)[torch.cat([pairs.chosen, pairs.rejected])].sum())


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"beta": 0.0}, "beta must be above 0"),
        ({"label_smoothing": 0.5}, "label_smoothing"),
        ({"ipo": True, "label_smoothing": 0.1}, "label_smoothing has no meaning with ipo"),
        ({"nll_coefficient": -1.0}, "nll_coefficient"),
    ],
)
def test_a_contradiction_is_named(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PreferenceLossSettings(**keys)
