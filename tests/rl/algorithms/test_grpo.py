import pytest
import torch

from rewards.types import Score
from rl.algorithms.grpo import GRPO
from rl.types import TrainBatch


def batch_of(rows: int, length: int) -> TrainBatch:
    mask = torch.ones(rows, length, dtype=torch.bool)
    mask[:, 0] = False
    return TrainBatch(
        torch.zeros(rows, length, dtype=torch.long), torch.ones_like(mask), mask, torch.zeros(rows, length)
    )


def test_advantages_follow_the_rows_of_the_rollout() -> None:
    scores = [[Score.of(1.0), Score.of(0.0)], [Score.of(0.2), Score.of(0.8)]]
    advantages = GRPO().advantages(scores, batch_of(4, 3))
    assert advantages[:, 0].tolist() == [0, 0, 0, 0]
    assert torch.allclose(advantages[:, 1], torch.tensor([1.0, -1.0, -1.0, 1.0]) / 2**0.5)
    assert torch.equal(advantages[:, 1], advantages[:, 2])


def test_without_a_kl_no_reference_is_needed() -> None:
    assert GRPO(kl=0.1).needs_reference
    assert not GRPO(kl=0.0).needs_reference


def test_settings_of_the_loss_are_checked_when_the_algorithm_is_made() -> None:
    with pytest.raises(ValueError, match="clip_low"):
        GRPO(clip_low=1.5)
