"""A learner's step equals the same step in plain torch, however ranks, ZeRO stages and micro-batches cut the batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import ray
import torch
from torch import Tensor

from rl.cluster import actor_options, call
from rl.learner.batching import plan_pass, plan_update
from rl.learner.losses import PolicyLossSettings
from rl.learner.rank import LearnerRank
from rl.settings import ClusterSettings, LearnerSettings, PolicySettings
from rl.types import TrainBatch
from rl.weights import unpack
from tests.rl.learner import reference

pytestmark = pytest.mark.e2e

TEMPERATURE = 0.7
ONE_PASS, SEVERAL = 10_000, 90  # micro_batch_tokens: everything at once, and rows two by two
Stage = Literal[0, 2, 3]


class Ranks:
    """Learner ranks that stay up while one policy after another is loaded into them."""

    def __init__(self, count: int, cluster: ClusterSettings, folder: Path, logs: Path) -> None:
        actor: Any = ray.remote(LearnerRank).options(**actor_options(cluster, "learner", model_path=str(folder)))
        self.actors = [actor.remote(rank, str(logs / str(count))) for rank in range(count)]
        self.address = call(self.actors[0].address.remote(), 60, "address")
        self.folder = folder

    def all(self, method: str, *arguments: Any) -> list[Any]:
        return call([getattr(actor, method).remote(*arguments) for actor in self.actors], 240, method)

    def load(
        self, settings: LearnerSettings, loss: PolicyLossSettings, dtype: Literal["fp32", "bf16"] = "fp32"
    ) -> None:
        options = {"temperature": TEMPERATURE, "with_reference": True}
        self.all("start", self.address, PolicySettings(str(self.folder), dtype), settings, "cpu", loss, options, 0)

    def logprobs(self, batch: TrainBatch, budget: int) -> tuple[Tensor, Tensor]:
        plan = plan_pass(batch.attention_mask.sum(1), list(range(len(batch))), len(self.actors), budget)
        shared = ray.put(batch)
        refs = [actor.logprobs.remote(shared, micros) for actor, micros in zip(self.actors, plan, strict=True)]
        policy, frozen = torch.zeros(batch.input_ids.shape), torch.zeros(batch.input_ids.shape)
        for rows, mine, theirs in (part for answer in call(refs, 240, "logprobs") for part in answer):
            policy[rows, : mine.shape[1]] = torch.tensor(mine)
            frozen[rows, : theirs.shape[1]] = torch.tensor(theirs)
        return policy, frozen

    def update(self, batch: TrainBatch, settings: LearnerSettings, seed: int) -> dict[str, float]:
        plan = plan_update(batch.attention_mask.sum(1), batch.response_mask.sum(1), settings, seed)
        return self.all("update", batch, plan)[0]

    def weights(self) -> dict[str, Tensor]:
        references = self.all("weights", 50_000)[0]
        assert len(references) > 3
        return {name: tensor for bucket in ray.get(references) for name, tensor in unpack(bucket)}


@pytest.fixture(scope="module")
def ranks(
    cluster: ClusterSettings, policy_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[int, Ranks]]:
    logs = tmp_path_factory.mktemp("logs")
    groups = {count: Ranks(count, cluster, policy_folder, logs) for count in (1, 2)}
    yield groups
    for group in groups.values():
        for actor in group.actors:
            ray.kill(actor)


def settings_for(count: int, stage: Stage, **keys: Any) -> LearnerSettings:
    usual: dict[str, Any] = {"learning_rate": 1e-4, "weight_decay": 0.1, "micro_batch_tokens": SEVERAL}
    return LearnerSettings(ranks=count, zero_stage=stage, **(usual | keys))


def largest_difference(weights: dict[str, Tensor], trained: reference.Trained) -> float:
    """Over all weights whose gradient was not lost in rounding, which must be nearly all of them."""
    assert weights.keys() == trained.weights.keys()
    sure = torch.cat([trained.sure[name].flatten() for name in weights])
    apart = torch.cat([(weights[name] - trained.weights[name]).abs().flatten() for name in weights])
    assert float(sure.float().mean()) > 0.98
    return float(apart[sure].max())


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("stage", [0, 2, 3])
def test_two_updates_equal_plain_torch(ranks: dict[int, Ranks], batch: TrainBatch, count: int, stage: Stage) -> None:
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
        assert largest_difference(group.weights(), expected) < 1e-6


@pytest.mark.parametrize(
    ("count", "loss", "keys"),
    [
        (2, PolicyLossSettings(aggregation="sequence", kl=0.05), {"epochs": 2, "minibatches": 2}),
        (2, PolicyLossSettings(aggregation="constant", constant_length=32, clip_high=0.28), {"epochs": 3}),
        (1, PolicyLossSettings(clip_low=0.05, clip_high=0.05), {"epochs": 2}),
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
    assert largest_difference(group.weights(), expected) < 1e-6
    assert metrics["steps"] == settings.epochs * settings.minibatches
    assert 0 < metrics["clip_fraction"] < 1
    assert metrics["ratio_max"] > 1


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


def test_logprobs_are_those_of_transformers_at_the_sampling_temperature(
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


def test_a_warm_up_reaches_its_rate_after_exactly_so_many_steps(ranks: dict[int, Ranks], batch: TrainBatch) -> None:
    group, settings = ranks[1], settings_for(1, 2, warmup_updates=3)
    group.load(settings, PolicyLossSettings())
    rates = [group.update(batch, settings, seed=0)["learning_rate"] for _ in range(4)]
    assert rates == pytest.approx([1e-4 / 3, 2e-4 / 3, 1e-4, 1e-4])
