"""Settings of the loss that contradict each other are refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from rl.learner.losses import PolicyLossSettings


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"clip_low": 1.0}, "clip_low"),
        ({"dual_clip": 0.5}, "dual_clip"),
        ({"kl": -0.1}, "kl must not be negative"),
        ({"kl": 0.1, "kl_estimator": "k1"}, "gradient of mean zero"),
        ({"aggregation": "constant"}, "constant_length"),
        ({"ratio": "sequence"}, "needs aggregation=sequence"),
        ({"correction": "sequence"}, "correction_mode=mask"),
        ({"correction_low": 6.0}, "is above"),
    ],
)
def test_a_contradiction_is_named(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PolicyLossSettings(**keys)


def drawn() -> tuple[torch.Tensor, ...]:
    """Log-probabilities now, before the update and of the sampler, advantages and mask, (5, 12) each."""
    generator = torch.Generator().manual_seed(2)
    mask = (torch.arange(12) < torch.tensor([[12], [3], [7], [1], [9]])).float()
    old = -torch.rand(5, 12, generator=generator) * mask
    current, behaviour = (old + scale * torch.randn(5, 12, generator=generator) * mask for scale in (0.3, 0.4))
    return current, old, behaviour, torch.randn(5, 1, generator=generator) * mask, mask


CORRECTIONS = [
    {"correction": "token", "correction_mode": "clip", "correction_low": 0.8, "correction_high": 1.1},
    {"correction": "token", "correction_mode": "mask", "correction_low": 0.8, "correction_high": 1.1},
    {"correction": "sequence", "correction_mode": "mask", "correction_low": 0.95, "correction_high": 1.2},
]


@pytest.mark.e2e  # importing OpenRLHF takes many seconds
@pytest.mark.parametrize("keys", CORRECTIONS)
def test_correction_weights_equal_openrlhfs(keys: dict[str, Any]) -> None:
    from rl.learner.policy import correction_weights, policy_loss

    current, old, behaviour, advantages, mask = drawn()
    settings = PolicyLossSettings(aggregation="sequence", **keys)
    expected = policy_loss(settings)(current, old, advantages, mask, behaviour)[0]
    weighted = advantages * correction_weights(old, behaviour, mask, settings)
    found = policy_loss(PolicyLossSettings(aggregation="sequence"))(current, old, weighted, mask, behaviour)[0]
    assert float(found) == pytest.approx(float(expected), abs=1e-6)


@pytest.mark.e2e
@pytest.mark.parametrize("keys", CORRECTIONS)
def test_a_correction_multiplies_the_loss_of_sequence_ratios_and_does_not_change_their_clipping(keys) -> None:
    from types import SimpleNamespace

    import rl.learner.policy as policy
    from rl.types import TrainBatch

    current, old, behaviour, advantages, mask = drawn()
    settings = PolicyLossSettings(ratio="sequence", aggregation="sequence", clip_low=0.05, clip_high=0.05, **keys)
    total = 0.0
    for row in range(5):
        places = mask[row].bool()
        ratio = float((current - old)[row][places].mean().exp())
        weights = (old - behaviour)[row][places].exp()
        low, high = settings.correction_low, settings.correction_high
        if settings.correction_mode == "clip":
            weights = weights.clamp(low, high)
        elif settings.correction == "token":
            weights = weights * ((weights >= low) & (weights <= high))
        else:
            weights = weights * (low <= float(weights.log().mean().exp()) <= high)
        advantage = float(advantages[row][0])
        total -= float(weights.mean()) * min(ratio * advantage, min(max(ratio, 0.95), 1.05) * advantage) / 5
    batch = TrainBatch(mask.long(), mask.bool(), mask.bool(), behaviour, advantages, old)
    learner: Any = SimpleNamespace(
        loss=settings,
        loss_terms=policy.policy_loss(settings),
        strategy=SimpleNamespace(world_size=1, device="cpu"),
        setup=SimpleNamespace(temperature=1.0),
        _reference_of=lambda rows: None,
        actor=None,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(policy, "token_logprobs", lambda *_: current)
        step: Any = SimpleNamespace(tokens=int(mask.sum()), sequences=5)
        found, _, _ = policy.PolicyLearner._micro_loss(learner, batch, step)
    assert float(found) == pytest.approx(total, abs=1e-6)
