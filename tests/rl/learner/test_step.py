"""A learner's step equals the same step in plain torch, however ranks, ZeRO stages and micro-batches cut the batch."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from rl.learner.losses import PolicyLossSettings
from rl.types import TrainBatch
from tests.rl.learner import reference
from tests.rl.learner.rig import ONE_PASS, SEVERAL, TEMPERATURE, Ranks, Stage, settings_for

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("stage", [0, 2, 3])
@pytest.mark.parametrize("prompts", ["batch", "shared_batch"])
def test_two_updates_equal_plain_torch(
    ranks: dict[int, Ranks], request: pytest.FixtureRequest, prompts: str, count: int, stage: Stage
) -> None:
    """Whether each row has a prompt of its own, or rows share theirs."""
    batch: TrainBatch = request.getfixturevalue(prompts)
    group, loss = ranks[count], PolicyLossSettings(kl=0.1)
    for budget in (ONE_PASS, SEVERAL):
        settings = settings_for(count, stage, micro_batch_tokens=budget)
        group.load(settings, loss)
        policy, frozen = group.logprobs(batch, budget)
        assert torch.equal(policy, frozen)
        ready = replace(batch, reference_logprobs=frozen)
        expected = reference.train(group.folder, ready, settings, loss, TEMPERATURE, seeds=[0, 1])
        for value, norm in zip(expected.losses, expected.norms, strict=True):
            metrics = group.update(ready, settings, seed=0)
            assert metrics["loss"] == pytest.approx(value, abs=1e-5)
            assert metrics["grad_norm"] == pytest.approx(norm, rel=1e-4)
        assert reference.largest_difference(group.weights(), expected) < 1e-6


@pytest.mark.parametrize(
    ("count", "loss", "keys"),
    [
        (2, PolicyLossSettings(aggregation="sequence", kl=0.05), {"epochs": 2, "minibatches": 2}),
        (2, PolicyLossSettings(aggregation="constant", constant_length=32, clip_high=0.28), {"epochs": 3}),
        (1, PolicyLossSettings(clip_low=0.05, clip_high=0.05), {"epochs": 2, "gradient_checkpointing": True}),
    ],
)
def test_epochs_minibatches_and_means_equal_plain_torch(
    ranks: dict[int, Ranks], batch: TrainBatch, count: int, loss: PolicyLossSettings, keys: dict[str, Any]
) -> None:
    group, settings = ranks[count], settings_for(count, 2, **keys)
    group.load(settings, loss)
    policy, frozen = group.logprobs(batch, SEVERAL)
    ready = replace(batch, old_logprobs=policy, reference_logprobs=frozen)
    metrics = group.update(ready, settings, seed=4)
    expected = reference.train(group.folder, ready, settings, loss, TEMPERATURE, seeds=[4])
    assert reference.largest_difference(group.weights(), expected) < 1e-6
    assert metrics["steps"] == settings.epochs * settings.minibatches
    assert 0 < metrics["clip_fraction"] < 1
    assert metrics["ratio_max"] > 1


def test_single_row_minibatches_that_leave_a_rank_idle_equal_plain_torch(
    ranks: dict[int, Ranks], batch: TrainBatch
) -> None:
    group, settings, loss = ranks[2], settings_for(2, 2, minibatches=20), PolicyLossSettings()
    rows = batch.select([0, 2, 3])
    group.load(settings, loss)
    metrics = group.update(replace(rows, old_logprobs=group.logprobs(rows, SEVERAL)[0]), settings, seed=4)
    expected = reference.train(group.folder, rows, settings, loss, TEMPERATURE, seeds=[4])
    assert metrics["steps"] == len(expected.losses) == 3
    assert reference.largest_difference(group.weights(), expected) < 1e-6


@pytest.mark.parametrize(
    ("loss", "plain"),
    [
        (PolicyLossSettings(ratio="sequence", aggregation="sequence"), PolicyLossSettings(aggregation="sequence")),
        (PolicyLossSettings(correction="token"), PolicyLossSettings()),
        (PolicyLossSettings(correction="sequence", correction_mode="mask"), PolicyLossSettings()),
        (PolicyLossSettings(dual_clip=3.0, kl=0.1, kl_estimator="k2"), PolicyLossSettings()),
    ],
)
def test_on_policy_all_variants_take_the_same_step(
    ranks: dict[int, Ranks], batch: TrainBatch, loss: PolicyLossSettings, plain: PolicyLossSettings
) -> None:
    group, settings = ranks[2], settings_for(2, 2)
    group.load(settings, loss)
    policy, frozen = group.logprobs(batch, SEVERAL)
    group.update(replace(batch, behaviour_logprobs=policy, reference_logprobs=frozen), settings, seed=0)
    expected = reference.train(group.folder, batch, settings, plain, TEMPERATURE, seeds=[0])
    assert reference.largest_difference(group.weights(), expected) < 1e-6


@pytest.mark.parametrize("stage", [0, 2, 3])
def test_bf16_steps_stay_near_fp32(ranks: dict[int, Ranks], batch: TrainBatch, stage: Stage) -> None:
    group, loss = ranks[2], PolicyLossSettings()
    settings = settings_for(2, stage, learning_rate=1e-2)
    group.load(settings, loss, "bf16")
    before = group.weights()
    metrics = group.update(batch, settings, seed=0)
    expected = reference.train(group.folder, batch, settings, loss, TEMPERATURE, seeds=[0])
    assert metrics["grad_norm"] == pytest.approx(expected.norms[0], rel=0.05)
    after = group.weights()
    assert all(value.dtype == torch.bfloat16 for value in after.values())
    # Adam's first step moves every weight by about the learning rate, up or down: the signs must mostly agree.
    moved = torch.cat([(after[name].float() - before[name].float()).flatten() for name in after])
    wanted = torch.cat([(expected.weights[name] - before[name].float()).flatten() for name in after])
    told = (moved.abs() > 5e-3) & (wanted.abs() > 5e-3)
    assert float((moved[told].sign() == wanted[told].sign()).float().mean()) > 0.97


def test_logprobs_equal_those_of_transformers_at_the_sampling_temperature(
    ranks: dict[int, Ranks], batch: TrainBatch
) -> None:
    from transformers import AutoModelForCausalLM

    group = ranks[2]
    group.load(settings_for(2, 3), PolicyLossSettings())
    model = AutoModelForCausalLM.from_pretrained(group.folder, dtype=torch.float32)
    with torch.no_grad():
        expected = reference.token_logprobs(model, batch, TEMPERATURE)
    policy, _ = group.logprobs(batch, SEVERAL)
    assert float((policy - expected).abs().max()) < 2e-5
    assert not policy[~batch.response_mask].any()


def test_a_warm_up_reaches_its_rate_after_exactly_the_given_steps(ranks: dict[int, Ranks], batch: TrainBatch) -> None:
    group, settings = ranks[1], settings_for(1, 2, warmup_updates=3)
    group.load(settings, PolicyLossSettings())
    rates = [group.update(batch, settings, seed=0)["learning_rate"] for _ in range(4)]
    assert rates == pytest.approx([1e-4 / 3, 2e-4 / 3, 1e-4, 1e-4])


def test_a_cosine_falls_to_zero_at_the_end_of_the_run(ranks: dict[int, Ranks], batch: TrainBatch) -> None:
    group, settings = ranks[1], settings_for(1, 2, warmup_updates=1, lr_schedule="cosine")
    group.load(settings, PolicyLossSettings(), updates=5)
    rates = [group.update(batch, settings, seed=0)["learning_rate"] for _ in range(5)]
    assert rates == pytest.approx([1e-4 * (1 + math.cos(math.pi * done / 4)) / 2 for done in range(5)], abs=1e-12)
