"""The critic's values and steps equal plain torch's; it may learn before the policy does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rl.learner.losses import PolicyLossSettings
from rl.learner.setup import check_critic
from rl.settings import CriticSettings, PolicySettings
from rl.types import TrainBatch
from tests.rl.learner import reference
from tests.rl.learner.rig import SEVERAL, Ranks, Stage, settings_for
from tests.tiny import make_llama, make_tokenizer

RATE = 1e-3


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("count", "stage", "clip", "steps"), [(1, 0, 0.02, 2), (2, 0, 0.02, 1), (2, 2, 0.02, 2), (2, 3, None, 1)]
)
def test_values_and_their_steps_equal_plain_torch(
    ranks: dict[int, Ranks], batch: TrainBatch, count: int, stage: Stage, clip: float | None, steps: int
) -> None:
    group, settings = ranks[count], settings_for(count, stage, epochs=steps)
    group.load(settings, PolicyLossSettings(), critic=CriticSettings(learning_rate=RATE, value_clip=clip))
    plain = reference.ValueModel(group.folder, seed=0)
    with torch.no_grad():
        before = plain(batch)
    values = group.values(batch, SEVERAL)
    assert float((values - before).abs().max()) < 2e-5
    assert not values[~batch.response_mask].any()

    returns = torch.randn(values.shape, generator=torch.Generator().manual_seed(1)) * batch.response_mask
    logprobs, _ = group.logprobs(batch, SEVERAL)
    ready = replace(batch, values=values, returns=returns, old_logprobs=logprobs)
    expected = reference.train_values(plain, ready, settings, RATE, clip, seed=2)
    frozen = group.weights()
    metrics = group.update(ready, settings, seed=2, policy_learns=False)
    assert metrics["value_loss"] == pytest.approx(sum(expected.losses) / len(expected.losses), rel=1e-5)
    assert metrics["value_grad_norm"] == pytest.approx(sum(expected.norms) / len(expected.norms), rel=1e-4)
    with torch.no_grad():
        after = plain(batch)
    assert float((after - before).abs().max()) > 0.02
    assert float((group.values(batch, SEVERAL) - after).abs().max()) < 1e-4
    weights = group.weights()
    assert all(torch.equal(weights[name], frozen[name]) for name in frozen)  # only the critic has learnt

    group.update(ready, settings, seed=2)
    expected = reference.train(group.folder, ready, settings, PolicyLossSettings(), 0.7, seeds=[2])
    assert reference.largest_difference(group.weights(), expected) < 1e-6


@pytest.mark.e2e
def test_the_critic_uses_the_value_head_in_its_folder(
    ranks: dict[int, Ranks], batch: TrainBatch, tmp_path: Path
) -> None:
    from transformers import LlamaForSequenceClassification

    group = ranks[1]
    model = LlamaForSequenceClassification.from_pretrained(group.folder, num_labels=1, dtype=torch.float32)
    model.save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    group.load(settings_for(1, 0), PolicyLossSettings(), critic=CriticSettings(path=str(tmp_path)))
    plain = reference.ValueModel(group.folder, seed=0)
    plain.head = model.score.weight
    with torch.no_grad():
        assert float((group.values(batch, SEVERAL) - plain(batch)).abs().max()) < 1e-4


def test_a_critic_with_another_vocabulary_is_refused(tmp_path: Path) -> None:
    policy = make_llama(tmp_path / "policy", make_tokenizer())
    other = make_llama(tmp_path / "other", make_tokenizer("llama31"))
    check_critic(CriticSettings(path=str(policy)), PolicySettings(str(policy)))
    with pytest.raises(ValueError, match=r"critic\.path: the vocabulary of .* is not the policy"):
        check_critic(CriticSettings(path=str(other)), PolicySettings(str(policy)))
    with pytest.raises(FileNotFoundError, match=r"critic\.path: there is no model folder"):
        check_critic(CriticSettings(path=str(tmp_path / "none")), PolicySettings(str(policy)))


def test_explained_variance_is_one_for_perfect_values_and_zero_for_a_constant(batch: TrainBatch) -> None:
    from rl.learner.critic import explained_variance

    returns = torch.randn(batch.input_ids.shape)
    assert explained_variance(replace(batch, values=returns, returns=returns)) == pytest.approx(1)
    assert explained_variance(replace(batch, values=torch.ones_like(returns), returns=returns)) == pytest.approx(0)
    assert explained_variance(replace(batch, values=returns, returns=torch.ones_like(returns))) == 0
