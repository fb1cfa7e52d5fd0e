"""The same numbers as OpenRLHF's own functions, run as they are on the same batch.

`RemoteExperienceMaker.compute_advantages_and_returns` is OpenRLHF's whole way from scores to advantages. Its tensors
hold the response only, padded on the right; ours the prompt too.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from rl.credit.groups import batch_whitened, group_advantages, leave_one_out, on_every_token
from rl.credit.kl import AdaptiveKL, kl_estimate
from rl.credit.returns import discounted_returns, gae, on_last_token

pytestmark = pytest.mark.e2e  # importing OpenRLHF takes many seconds: it brings DeepSpeed and Ray

GROUPS, SIZE, LENGTH, PROMPT = 3, 4, 7, 2
KL = 0.05


class Batch:
    """Scores, critic's values and token KLs of 12 responses of 1 to 7 tokens, in (G, n) and in (B, PROMPT + LENGTH)."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(5)
        rows = GROUPS * SIZE
        self.scores = torch.randn(GROUPS, SIZE, generator=generator)
        lengths = 1 + torch.randint(0, LENGTH, (rows, 1), generator=generator)
        self.mask = torch.nn.functional.pad(torch.arange(LENGTH) < lengths, (PROMPT, 0))
        self.values = torch.randn(rows, PROMPT + LENGTH, generator=generator) * self.mask
        self.kl = torch.randn(rows, PROMPT + LENGTH, generator=generator) * self.mask
        self.present = torch.ones(GROUPS, SIZE, dtype=torch.bool)


def openrlhf(
    batch: Batch, estimator: str, kl: float = 0.0, gamma: float = 1.0, lam: float = 1.0
) -> tuple[Tensor, Tensor]:
    """OpenRLHF's advantages and returns with this estimator, 0 outside the response."""
    import rl.learner.openrlhf_cpu  # noqa: F401, I001
    from openrlhf.trainer.ppo_utils.experience_maker import RemoteExperienceMaker

    advantage = SimpleNamespace(estimator=estimator, gamma=gamma, lambd=lam, no_std_norm=False)
    args = SimpleNamespace(
        algo=SimpleNamespace(advantage=advantage),
        reward=SimpleNamespace(clip_range=None),
        rollout=SimpleNamespace(n_samples_per_prompt=SIZE),
    )
    maker = object.__new__(RemoteExperienceMaker)
    maker.strategy, maker.args, maker.advantage_estimator = SimpleNamespace(args=args), args, estimator
    maker.kl_ctl = SimpleNamespace(value=kl)
    experience = SimpleNamespace(
        rewards=batch.scores.flatten(),
        index=list(range(GROUPS * SIZE)),
        info={},
        kl=batch.kl[:, PROMPT:],
        values=batch.values[:, PROMPT:],
        action_mask=batch.mask[:, PROMPT:],
        advantages=None,
        returns=None,
    )
    maker.compute_advantages_and_returns([experience])
    inside = batch.mask[:, PROMPT:]
    return experience.advantages * inside, experience.returns * inside


def response(tokens: Tensor) -> Tensor:
    assert not tokens[:, :PROMPT].any()
    return tokens[:, PROMPT:]


@pytest.mark.parametrize(
    "estimator, ours",
    [
        ("group_norm", group_advantages),
        ("dr_grpo", lambda values, mask: group_advantages(values, mask, normalise_std=False)),
        ("rloo", leave_one_out),
    ],
)
def test_group_baselines_equal_openrlhfs(estimator: str, ours: Any) -> None:
    batch = Batch()
    expected, _ = openrlhf(batch, estimator)
    found = on_every_token(ours(batch.scores, batch.present).flatten(), batch.mask)
    assert torch.allclose(response(found), expected, atol=1e-5)


@pytest.mark.parametrize("estimator, centre", [("reinforce", False), ("reinforce_baseline", True)])
def test_reinforce_plus_plus_equals_openrlhfs(estimator: str, centre: bool) -> None:
    """Returns of the score less the token KLs, whitened over all tokens of the batch."""
    batch = Batch()
    expected, _ = openrlhf(batch, estimator, kl=KL)
    scores = group_advantages(batch.scores, batch.present, normalise_std=False) if centre else batch.scores
    rewards = on_last_token(scores.flatten(), batch.mask) - KL * batch.kl
    found = batch_whitened(discounted_returns(rewards, batch.mask, gamma=1.0), batch.mask)
    assert torch.allclose(response(found), expected, atol=1e-5)


@pytest.mark.parametrize("gamma, lam", [(1.0, 0.95), (0.9, 0.5), (1.0, 1.0)])
def test_gae_with_whitening_equals_openrlhfs(gamma: float, lam: float) -> None:
    batch = Batch()
    expected, expected_returns = openrlhf(batch, "gae", KL, gamma, lam)
    rewards = on_last_token(batch.scores.flatten(), batch.mask) - KL * batch.kl
    advantages, returns = gae(rewards, batch.values, batch.mask, gamma, lam)
    assert torch.allclose(response(batch_whitened(advantages, batch.mask)), expected, atol=1e-5)
    assert torch.allclose(response(returns), expected_returns, atol=1e-5)


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_kl_estimates_equal_openrlhfs_even_beyond_their_bounds(estimator: Any) -> None:
    import rl.learner.openrlhf_cpu  # noqa: F401, I001
    from openrlhf.models.utils import compute_approx_kl

    generator = torch.Generator().manual_seed(1)
    policy, reference = -20 * torch.rand(2, 4, 50, generator=generator)
    expected = compute_approx_kl(policy, reference, kl_estimator=estimator)
    assert expected.max() == 10
    assert torch.allclose(kl_estimate(policy, reference, estimator), expected, atol=1e-5)


def test_the_adaptive_coefficient_equals_openrlhfs() -> None:
    import rl.learner.openrlhf_cpu  # noqa: F401, I001
    from openrlhf.trainer.ppo_utils.kl_controller import AdaptiveKLController

    theirs, ours = AdaptiveKLController(0.2, 6.0, 10_000), AdaptiveKL(0.2, 6.0, 10_000)
    for measured in (0.0, 3.0, 5.9, 7.0, 40.0):
        theirs.update(measured, 512)
        ours.update(measured, 512)
        assert ours.coefficient == pytest.approx(float(theirs.value), rel=1e-9)
