"""ArmoRM's two stages on data where the right outcome is known."""

import numpy as np
import pytest
import scipy.stats
import torch

from rewards.engines.armorm_model import GatingNetwork
from rewards.training.armorm_stages import (
    LARGEST_PENALTY,
    GateSchedule,
    debias,
    ridge,
    smallest_penalty,
    spearman,
    train_gate,
)


def test_ridge_finds_the_weights_that_made_the_targets() -> None:
    generator = torch.Generator().manual_seed(0)
    states, made_by = torch.randn(400, 6, generator=generator), torch.randn(3, 6, generator=generator)
    weights, alphas = ridge(states, states @ made_by.T)
    assert torch.allclose(weights, made_by, atol=1e-4)
    assert (alphas < 1).all()


def test_ridge_is_least_squares_on_rows_that_pull_to_zero_and_noise_asks_for_more_strength() -> None:
    generator = torch.Generator().manual_seed(1)
    states, noise = torch.randn(60, 40, generator=generator), torch.randn(60, 1, generator=generator)
    weights, alphas = ridge(states, noise, seed=3)
    assert alphas[0] >= 10
    rows = torch.randperm(60, generator=torch.Generator().manual_seed(3))[12:]
    pulling = float(alphas[0]) ** 0.5 * np.eye(40)
    inputs = np.concatenate([states[rows].double().numpy(), pulling])
    targets = np.concatenate([noise[rows, 0].double().numpy(), np.zeros(40)])
    expected, *_ = np.linalg.lstsq(inputs, targets)
    assert weights[0].tolist() == pytest.approx(expected.tolist(), abs=1e-5)


def test_rows_without_an_objective_are_left_out_of_it_alone() -> None:
    generator = torch.Generator().manual_seed(2)
    states = torch.randn(200, 4, generator=generator)
    targets = torch.stack([states[:, 0], states[:, 1]], dim=1)
    targets[100:, 1] = float("nan")
    weights, _ = ridge(states, targets)
    assert torch.allclose(weights, torch.eye(4)[:2], atol=1e-3)
    targets[5:, 1] = float("nan")
    with pytest.raises(ValueError, match="objective 1 has 5 labelled rows"):
        ridge(states, targets)


def test_spearman_shares_the_ranks_of_ties() -> None:
    assert spearman(torch.tensor([1.0, 2, 3]), torch.tensor([10.0, 20, 21])) == pytest.approx(1)
    assert spearman(torch.tensor([1.0, 2, 2, 3]), torch.tensor([4.0, 3, 2, 1])) == pytest.approx(-0.9487, abs=1e-4)
    assert spearman(torch.ones(3), torch.tensor([1.0, 2, 3])) == 0


def test_debiasing_takes_the_smallest_penalty_that_unties_an_objective_from_length() -> None:
    generator = torch.Generator().manual_seed(0)
    length, merit = torch.randn(2, 2000, generator=generator)
    rewards = torch.stack([merit, merit + 0.5 * length, length], dim=1)
    transform = debias(rewards, verbosity=2)
    assert transform[2].tolist() == pytest.approx([0.0, -0.5, 0.0], abs=0.06)
    assert torch.equal(transform[:2], torch.eye(3)[:2])
    assert spearman((rewards @ transform)[:, 1], length) <= 0.03


@pytest.mark.parametrize("scale", [0.3, 0.01, 1e-5])
def test_debiasing_finds_a_penalty_for_verbosity_on_a_smaller_scale(scale) -> None:
    generator = torch.Generator().manual_seed(0)
    length, merit = torch.randn(2, 500, generator=generator)
    rewards = torch.stack([merit + length, scale * length], dim=1)
    transform = debias(rewards, verbosity=1, grid="fine")
    assert spearman((rewards @ transform)[:, 0], length) <= 0.03
    assert -float(transform[1, 0]) * scale == pytest.approx(1, rel=0.1)


def test_debiasing_takes_the_largest_penalty_if_none_suffices() -> None:
    length = torch.arange(100.0)
    transform = debias(torch.stack([length, 1e-9 * length], dim=1), verbosity=1, grid="fine")
    assert transform[1, 0] == -LARGEST_PENALTY


@pytest.mark.parametrize("bound", [0.03, 0.3, -0.2])
@pytest.mark.parametrize("scale", [-1.0, 0.0, 0.005, 0.06, 0.4, 0.93, 0.97, 3.0])
def test_the_published_grid_is_that_of_the_released_script(scale, bound) -> None:
    """The script's penalties, tried one by one against scipy, and 1 where none suffices."""
    generator = torch.Generator().manual_seed(0)
    length, merit = torch.randn(2, 800, generator=generator)
    rewards = 0.1 * merit + scale * length
    tried = [0, 0.01, 0.025, 0.05, 0.075, 0.1, 0.125, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5]
    tried += [0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]
    sufficient = (p for p in tried if scipy.stats.spearmanr(rewards - p * length, length)[0] <= bound)
    assert smallest_penalty(rewards, length, bound, "published") == pytest.approx(next(sufficient, 1.0))


def test_the_fine_grid_is_in_hundredths_and_continues_if_that_does_not_suffice() -> None:
    length, merit = torch.randn(2, 800, generator=torch.Generator().manual_seed(0))
    published, fine = (smallest_penalty(merit + 0.33 * length, length, 0.03, grid) for grid in ("published", "fine"))
    assert published - 0.05 < fine <= published and fine == pytest.approx(round(fine, 2))
    assert smallest_penalty(merit + 3 * length, length, 0.03, "fine") > 2


def test_the_gate_learns_which_objective_counts_for_which_prompt() -> None:
    torch.manual_seed(0)
    prompts = torch.randint(2, (512, 1)).float() * 2 - 1
    better, worse = torch.randn(512, 2), torch.randn(512, 2)
    counts = (prompts[:, 0] > 0).long()
    rows = torch.arange(512)
    swap = better[rows, counts] < worse[rows, counts]
    better[swap], worse[swap] = worse[swap], better[swap].clone()
    gating = GatingNetwork(1, 2, width=16, hidden=2, temperature=1.0)
    loss = train_gate(gating, prompts, better, worse, torch.eye(2), GateSchedule(300, 128, 1e-2, 0.0))
    first, second = gating(torch.tensor([[-1.0], [1.0]])).detach()
    assert first[0] > 5 * first[1]
    assert second[1] > 5 * second[0]
    assert loss < 0.5


def test_the_gate_is_trained_on_debiased_rewards() -> None:
    torch.manual_seed(0)
    prompts, worse = torch.zeros(64, 1), torch.zeros(64, 2)
    better = torch.tensor([[0.0, 1.0]]).repeat(64, 1)
    removed = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    gating = GatingNetwork(1, 2, width=4, hidden=1, temperature=1.0)
    loss = train_gate(gating, prompts, better, worse, removed, GateSchedule(20, 16))
    assert loss == pytest.approx(0.6931, abs=1e-3)
