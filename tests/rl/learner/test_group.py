"""The learner as the loop drives it: critic, adapters, average and reference together, saved and resumed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray
import torch
from transformers import AutoModelForCausalLM

from rl.learner.group import LearnerGroup
from rl.learner.losses import LossSettings, PolicyLossSettings, PreferenceLossSettings
from rl.learner.setup import LearnerSetup
from rl.settings import ClusterSettings, CriticSettings, LearnerSettings, LoraSettings, PolicySettings
from rl.types import Preferences, TrainBatch
from rl.weights import unpack

LORA = LoraSettings(rank=4, alpha=8)


@pytest.fixture(scope="module")
def learner(
    cluster: ClusterSettings, policy_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LearnerGroup]:
    group = LearnerGroup(
        PolicySettings(str(policy_folder)),
        LearnerSettings(learning_rate=1e-2, lora=LORA, ema_decay=0.5),
        cluster,
        loss=PolicyLossSettings(kl=0.1),
        temperature=0.7,
        total_updates=5,
        seed=1,
        log_folder=tmp_path_factory.mktemp("run") / "logs",
        with_reference=True,
        critic=CriticSettings(warmup_updates=1),
    )
    yield group
    group.shutdown()


def weights(learner: LearnerGroup) -> dict[str, torch.Tensor]:
    return {name: tensor for bucket in ray.get(learner.weights()) for name, tensor in unpack(bucket)}


def ready(told: TrainBatch) -> TrainBatch:
    assert told.values is not None
    return replace(told, returns=torch.ones_like(told.values))


@pytest.mark.e2e
def test_a_run_from_the_critics_warm_up_to_a_saved_moving_average(
    learner: LearnerGroup, batch: TrainBatch, tmp_path: Path
) -> None:
    told = learner.with_logprobs(batch)
    assert told.values is not None and told.values.shape == batch.input_ids.shape
    with pytest.raises(ValueError, match="no values or no returns"):
        learner.update(replace(batch, reference_logprobs=told.reference_logprobs), seed=0)
    start = weights(learner)
    waiting = learner.update(ready(told), seed=0)
    assert waiting["grad_norm"] == waiting["learning_rate"] == 0 < waiting["value_grad_norm"]
    unmoved = weights(learner)
    assert all(torch.equal(unmoved[name], start[name]) for name in start)

    learning = learner.update(ready(learner.with_logprobs(batch)), seed=1)
    assert learning["grad_norm"] > 0
    assert learning["value_loss"] < waiting["value_loss"]
    moved = weights(learner)
    assert any(not torch.equal(moved[name], start[name]) for name in start)

    learner.save_policy(tmp_path / "policy", ema=True)
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "policy", dtype=torch.float32).state_dict()
    average = AutoModelForCausalLM.from_pretrained(tmp_path / "policy_ema", dtype=torch.float32).state_dict()
    for name in start:
        assert torch.equal(saved[name], moved[name])
        assert torch.allclose(average[name], (start[name] + moved[name]) / 2, atol=1e-6)


@pytest.mark.e2e
def test_a_resumed_run_continues_bit_for_bit_with_all_its_parts(
    learner: LearnerGroup, batch: TrainBatch, tmp_path: Path
) -> None:
    learner.refresh_reference()
    learner.save_checkpoint(tmp_path / "last")
    done = learner.updates

    def go_on() -> tuple[TrainBatch, dict[str, Any], dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        told = learner.with_logprobs(batch)
        metrics = learner.update(ready(told), seed=9)
        learner.save_policy(tmp_path / "policy", ema=True)
        average = AutoModelForCausalLM.from_pretrained(tmp_path / "policy_ema", dtype=torch.float32).state_dict()
        metrics.pop("seconds")
        return told, metrics, weights(learner), average

    expected = go_on()
    learner.load_checkpoint(tmp_path / "last")
    assert learner.updates == done
    told, metrics, after, average = go_on()
    assert metrics == expected[1]
    for name in ("old_logprobs", "reference_logprobs", "values"):
        assert torch.equal(getattr(told, name), getattr(expected[0], name))
    assert all(torch.equal(after[name], expected[2][name]) for name in after)
    assert all(torch.equal(average[name], expected[3][name]) for name in average)

    learner.setup, setup = replace(learner.setup, critic=None), learner.setup
    with pytest.raises(ValueError, match=r"was written with critic=\{.*this run has None: use the same"):
        learner.load_checkpoint(tmp_path / "last")
    learner.setup = setup
    with pytest.raises(FileNotFoundError, match="no complete learner checkpoint"):
        learner.load_checkpoint(tmp_path / "none")


@pytest.mark.e2e
def test_pairs_are_refused_by_a_loss_over_tokens(learner: LearnerGroup, batch: TrainBatch) -> None:
    with pytest.raises(ValueError, match="the loss is over tokens, but the algorithm prepared Preferences"):
        learner.update(Preferences(batch, torch.tensor([0]), torch.tensor([1])), seed=0)


def setup(loss: LossSettings, **keys: Any) -> LearnerSetup:
    usual: dict[str, Any] = {"temperature": 1.0, "with_reference": False, "total_updates": 4, "seed": 0}
    settings = keys.pop("settings", LearnerSettings())
    return LearnerSetup(PolicySettings("policy"), settings, loss, "cpu", **(usual | keys))


@pytest.mark.parametrize(
    ("loss", "keys", "message"),
    [
        (PreferenceLossSettings(), {"critic": CriticSettings()}, "does not use a critic"),
        (PolicyLossSettings(kl=0.1), {}, "has no reference policy"),
        (PolicyLossSettings(), {"settings": LearnerSettings(warmup_updates=5)}, "the run has only 4 optimizer steps"),
        (PolicyLossSettings(), {"critic": CriticSettings(warmup_updates=4)}, "none of the run's 4 updates"),
    ],
)
def test_contradictory_settings_are_refused_before_anything_starts(
    loss: LossSettings, keys: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        setup(loss, **keys)


def test_the_policys_schedule_starts_after_the_critics_warm_up() -> None:
    waiting = setup(
        PolicyLossSettings(), settings=LearnerSettings(epochs=2, minibatches=3), critic=CriticSettings(warmup_updates=1)
    )
    assert (waiting.policy_steps, waiting.critic_steps) == (18, 24)


def test_a_moving_average_starts_at_the_first_weights_and_is_kept_in_fp32() -> None:
    from rl.learner.full_weights import MovingAverage

    average = MovingAverage(0.9)
    for value in (1.0, 2.0, 3.0):
        average.add([("weight", torch.full((2,), value, dtype=torch.bfloat16))])
    assert average.values["weight"].dtype == torch.float32
    assert average.values["weight"].tolist() == pytest.approx([1.29, 1.29])
