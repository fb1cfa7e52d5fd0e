"""PPO: rewards on their tokens, the KL's price, generalised advantages, against a naive loop."""

import pytest
import torch

from rewards.types import Score
from rl.algorithms.ppo import PPO
from rl.types import Scored
from tests.rl.algorithms.scored import scored_batch

SCORES = [[Score.of(1.0), Score.of(0.0)], [Score.failed("too long"), Score.of(0.5)]]


def with_numbers(scored: Scored, seed: int = 3) -> Scored:
    """Random log-probabilities and values on the response tokens."""
    generator = torch.Generator().manual_seed(seed)
    for name in ("old_logprobs", "reference_logprobs", "values"):
        drawn = torch.randn(scored.batch.input_ids.shape, generator=generator)
        setattr(scored.batch, name, drawn * scored.batch.response_mask)
    return scored


def naive(rewards: list[float], values: list[float], gamma: float, lam: float) -> list[float]:
    """Equation 16 of the GAE paper by its definition: sums of deltas."""
    ahead = [*values[1:], 0.0]
    deltas = [r + gamma * after - v for r, v, after in zip(rewards, values, ahead, strict=True)]
    return [
        sum((gamma * lam) ** (later - t) * deltas[later] for later in range(t, len(deltas))) for t in range(len(deltas))
    ]


def test_the_outcome_is_on_the_last_token_and_every_token_has_its_kl_penalty() -> None:
    scored = with_numbers(scored_batch(SCORES))
    batch = scored.batch
    data = PPO(kl=0.3, gamma=0.9, lam=0.8, whiten=False).prepare(scored).data
    assert data.input_ids[:, 1].tolist() == [0, 1, 3], "the failed row is left out"
    for place, (row, score) in enumerate([(0, 1.0), (1, 0.0), (3, 0.5)]):
        kl = (batch.old_logprobs - batch.reference_logprobs)[row, 2:]
        rewards = [*(-0.3 * kl[:2]).tolist(), score - 0.3 * float(kl[2])]
        expected = naive(rewards, batch.values[row, 2:].tolist(), 0.9, 0.8)
        assert data.advantages[place, 2:].tolist() == pytest.approx(expected, abs=1e-5)
        returns = [a + float(v) for a, v in zip(expected, batch.values[row, 2:], strict=True)]
        assert data.returns[place, 2:].tolist() == pytest.approx(returns, abs=1e-5)
    assert data.advantages[:, :2].abs().sum() == 0


def test_whitening_ignores_rows_without_a_score() -> None:
    scored = with_numbers(scored_batch(SCORES))
    expected = PPO(kl=0.0).prepare(scored).data.advantages
    scored.batch.values[2] += 100
    given = PPO(kl=0.0).prepare(scored).data.advantages
    assert torch.equal(given, expected)
    inside = given[:, 2:]
    assert float(inside.mean()) == pytest.approx(0, abs=1e-6)
    assert float(inside.std(correction=0)) == pytest.approx(1, abs=1e-5)


def test_each_steps_reward_is_on_its_last_token() -> None:
    text, spans = "ab\ncd\nef", [(0, 2), (3, 5), (6, 8)]

    def advantages(*steps: float, **options) -> torch.Tensor:
        scored = scored_batch([[Score.of(0.0, steps=steps, spans=spans)]], [[text]])
        # lambda 0 and no values: an advantage is the token's own reward
        return PPO(kl=0.0, lam=0.0, whiten=False, credit="steps", **options).prepare(scored).data.advantages[0]

    paid = advantages(0.25, 0.5, 0.75)
    assert paid[paid != 0].tolist() == [0.25, 0.5, 0.75]
    moved = (advantages(0.25, 0.9, 0.75) != paid).nonzero().flatten().tolist()
    assert moved == [int((paid == 0.5).nonzero())]
    shaped = advantages(0.25, 0.5, 0.75, shaping="delta")
    assert shaped[shaped != 0].tolist() == [-0.25, -0.25, 0.75]
    centred = advantages(0.25, 0.9, 0.75, centre=True)
    assert centred[centred != 0].tolist() == pytest.approx([-0.5, 0.8, 0.5])
    clipped = advantages(0.25, 0.5, 0.75, shaping="clip", clip_eta=0.5)
    assert clipped[clipped != 0].tolist() == [-0.25]


def test_an_adaptive_coefficient_follows_the_kl_and_survives_a_checkpoint() -> None:
    options = {"kl": 0.1, "kl_target": 1.0, "kl_horizon": 10, "kl_in": "reward"}
    scored = scored_batch([[Score.of(1.0), Score.of(0.0)]])
    scored.batch.old_logprobs = 5.0 * scored.batch.response_mask
    first = PPO(**options)
    assert first.prepare(scored).metrics["kl_coefficient"] == pytest.approx(0.1)
    assert first.prepare(scored).metrics["kl_coefficient"] == pytest.approx(0.1 * (1 + 0.2 * 2 / 10))
    second = PPO(**options)
    second.load_state(first.state())
    assert second.prepare(scored).metrics == first.prepare(scored).metrics


def test_a_state_of_another_algorithm_is_refused() -> None:
    with pytest.raises(ValueError, match="coefficient"):
        PPO().load_state({"coefficient": 0.1})


def test_ppo_needs_a_critic_and_keeps_the_kl_out_of_the_loss() -> None:
    assert PPO().critic is not None and not PPO().group_relative
    assert PPO(kl=0.1).loss().kl == 0 and PPO(kl=0.1, kl_in="loss", kl_estimator="k3").loss().kl == 0.1


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"gamma": 1.1}, "gamma"),
        ({"lam": -0.1}, "lam"),
        ({"shaping": "delta"}, "shaping"),
        ({"centre": True}, "credit=steps"),
        ({"kl_target": 6.0, "kl_in": "loss", "kl_estimator": "k3"}, "kl_in=reward"),
        ({"kl_in": "loss"}, "kl_estimator"),
    ],
)
def test_contradictory_options_are_refused_by_name(options, named) -> None:
    with pytest.raises(ValueError, match=named):
        PPO(**options)
