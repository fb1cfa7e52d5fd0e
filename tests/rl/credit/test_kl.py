"""KL estimators against their formulas, and a coefficient that follows its target."""

import math

import pytest
import torch

from rl.credit.kl import AdaptiveKL, kl_estimate


@pytest.mark.parametrize(
    "estimator, formula",
    [
        ("k1", lambda p, q: p - q),
        ("k2", lambda p, q: (p - q) ** 2 / 2),
        ("k3", lambda p, q: math.exp(q - p) - 1 - (q - p)),
    ],
)
def test_an_estimate_equals_its_formula_within_the_bound(estimator, formula) -> None:
    generator = torch.Generator().manual_seed(0)
    policy, reference = -4 * torch.rand(2, 3, 5, generator=generator, dtype=torch.float64)
    found = kl_estimate(policy, reference, estimator).flatten().tolist()
    for value, p, q in zip(found, policy.flatten().tolist(), reference.flatten().tolist(), strict=True):
        assert value == pytest.approx(min(max(formula(p, q), -10), 10), abs=1e-9)


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_an_estimate_stays_finite_however_far_apart_the_models_are(estimator) -> None:
    far = kl_estimate(torch.tensor([[-900.0, 0.0]]), torch.tensor([[0.0, -900.0]]), estimator)
    assert far.abs().max() <= 10


@pytest.mark.parametrize("estimator", ["k1", "k3"])
def test_k1_and_k3_are_unbiased(estimator) -> None:
    policy, reference = torch.tensor([0.7, 0.2, 0.1]).log(), torch.tensor([0.4, 0.4, 0.2]).log()
    exact = (policy.exp() * (policy - reference)).sum()
    expected = (policy.exp() * kl_estimate(policy[None], reference[None], estimator)[0]).sum()
    assert expected == pytest.approx(float(exact), abs=1e-6)


def test_an_unknown_estimator_is_refused() -> None:
    with pytest.raises(ValueError, match="'k4'"):
        kl_estimate(torch.zeros(1, 1), torch.zeros(1, 1), "k4")  # type: ignore[arg-type]


@pytest.mark.parametrize("measured, factor", [(12.0, 1.002), (6.6, 1.001), (6.0, 1.0), (5.4, 0.999), (0.0, 0.998)])
def test_the_coefficient_follows_the_error_up_to_a_fifth(measured: float, factor: float) -> None:
    adaptive = AdaptiveKL(initial=0.2, target=6.0, horizon=10_000)
    adaptive.update(measured, n=100)
    assert adaptive.coefficient == pytest.approx(0.2 * factor, rel=1e-9)


def test_the_coefficient_stays_positive_even_for_a_batch_of_many_horizons() -> None:
    adaptive = AdaptiveKL(initial=0.2, target=6.0, horizon=10)
    adaptive.update(0.0, n=1000)
    assert adaptive.coefficient > 0


def test_a_coefficient_continues_from_its_state() -> None:
    first, second = AdaptiveKL(0.2, 6.0, 1000), AdaptiveKL(0.2, 6.0, 1000)
    first.update(9.0, 50)
    second.load(first.state())
    for adaptive in (first, second):
        adaptive.update(3.0, 50)
    assert first.coefficient == second.coefficient != 0.2


def test_a_kl_that_is_not_finite_does_not_change_the_coefficient() -> None:
    with pytest.raises(ValueError, match="measured KL is nan"):
        AdaptiveKL(0.2, 6.0, 1000).update(float("nan"), 10)


@pytest.mark.parametrize("named", ["initial", "target", "horizon"])
def test_targets_and_horizons_that_make_no_sense_are_refused(named: str) -> None:
    with pytest.raises(ValueError, match=f"{named} must be above 0, not 0"):
        AdaptiveKL(**{"initial": 0.2, "target": 6.0, "horizon": 100.0, named: 0.0})
