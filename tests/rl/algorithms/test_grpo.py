import pytest
import torch

from rewards.types import Score
from rl.algorithms.grpo import GRPO
from tests.rl.algorithms.scored import scored_batch


def test_advantages_follow_the_rows_of_the_rollout() -> None:
    scores = [[Score.of(1.0), Score.of(0.0)], [Score.of(0.2), Score.of(0.8)]]
    advantages = GRPO().prepare(scored_batch(scores)).data.advantages
    assert advantages[:, :2].abs().sum() == 0
    assert torch.allclose(advantages[:, 2], torch.tensor([1.0, -1.0, -1.0, 1.0]) / 2**0.5)
    assert torch.equal(advantages[:, 2], advantages[:, 4])


def test_a_failed_score_leaves_its_row_out() -> None:
    scores = [[Score.of(1.0), Score.failed("too long"), Score.of(0.0)]]
    data = GRPO().prepare(scored_batch(scores)).data
    assert data.input_ids[:, 1].tolist() == [0, 2]
    assert torch.allclose(data.advantages[:, 2], torch.tensor([1.0, -1.0]) / 2**0.5)


def test_without_a_kl_no_reference_is_needed() -> None:
    assert GRPO(kl=0.1).needs_reference
    assert not GRPO(kl=0.0).needs_reference


def test_settings_of_the_loss_are_checked_when_the_algorithm_is_made() -> None:
    with pytest.raises(ValueError, match="clip_low"):
        GRPO(clip_low=1.5)
