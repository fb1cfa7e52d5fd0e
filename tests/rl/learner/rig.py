"""Learner ranks for tests: processes that stay up while one policy after another is loaded into them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import ray
import torch
from torch import Tensor

from rl.cluster import actor_options, call
from rl.learner.batching import Sizes, plan_pairs, plan_pass, plan_update
from rl.learner.losses import LossSettings
from rl.learner.rank import LearnerRank
from rl.learner.setup import LearnerSetup
from rl.settings import ClusterSettings, CriticSettings, LearnerSettings, PolicySettings, Precision
from rl.types import Preferences, TrainBatch
from rl.weights import unpack

TEMPERATURE = 0.7
ONE_PASS, SEVERAL = 10_000, 90  # micro_batch_tokens: everything at once, and rows two by two
Stage = Literal[0, 2, 3]


class Ranks:
    """`count` learner ranks, as LearnerGroup runs them."""

    def __init__(self, count: int, cluster: ClusterSettings, folder: Path, logs: Path) -> None:
        options = actor_options(cluster, "learner", actors=count, model_path=str(folder))
        actor: Any = ray.remote(LearnerRank).options(**options)
        self.logs = logs / str(count)
        self.actors = [actor.remote(rank, str(self.logs)) for rank in range(count)]
        self.address = self._finish([self.actors[0].address.remote()], "address")[0]
        self.folder = folder

    def all(self, method: str, *arguments: Any, **named: Any) -> list[Any]:
        return self._finish([getattr(actor, method).remote(*arguments, **named) for actor in self.actors], method)

    def _finish(self, refs: list[Any], what: str) -> list[Any]:
        names = [f"learner-{rank}" for rank in range(len(refs))]
        return call(refs, 240, what, names=names, log_folder=self.logs)

    def load(
        self,
        settings: LearnerSettings,
        loss: LossSettings,
        dtype: Precision = "fp32",
        *,
        critic: CriticSettings | None = None,
        with_reference: bool = True,
        updates: int = 10,
    ) -> None:
        policy = PolicySettings(str(self.folder), dtype)
        setup = LearnerSetup(policy, settings, loss, "cpu", TEMPERATURE, with_reference, updates, 0, critic)
        (self.not_shared_because, *_) = self.all("start", self.address, setup)

    def logprobs(self, batch: TrainBatch, budget: int) -> tuple[Tensor, Tensor]:
        """The policy's and the reference's."""
        answers = self._shares("logprobs", batch, budget)
        return _whole(batch, [part[:2] for part in answers]), _whole(batch, [part[::2] for part in answers])

    def values(self, batch: TrainBatch, budget: int) -> Tensor:
        return _whole(batch, self._shares("values", batch, budget))

    def _shares(self, method: str, batch: TrainBatch, budget: int) -> list[Any]:
        sizes = Sizes.of(batch, shared=self.not_shared_because is None)
        plan = plan_pass(sizes, list(range(len(batch))), len(self.actors), budget)
        shared = ray.put(batch)
        calls = zip(self.actors, plan, strict=True)
        refs = [getattr(actor, method).remote(shared, micros) for actor, micros in calls]
        return [part for answer in self._finish(refs, method) for part in answer]

    def update(
        self, data: TrainBatch | Preferences, settings: LearnerSettings, seed: int, **options: Any
    ) -> dict[str, float]:
        plan: Any = plan_pairs if isinstance(data, Preferences) else plan_update
        plan = plan(data, settings, seed, shared=self.not_shared_because is None)
        return self.all("update", data, plan, seed, **options)[0]

    def weights(self) -> dict[str, Tensor]:
        references = self.all("weights", 50_000)[0]
        assert len(references) > 3
        return {name: tensor for bucket in ray.get(references) for name, tensor in unpack(bucket)}


def _whole(batch: TrainBatch, parts: list[Any]) -> Tensor:
    whole = torch.zeros(batch.input_ids.shape)
    for rows, values in parts:
        whole[rows, : values.shape[1]] = torch.tensor(values)
    return whole


def settings_for(count: int, stage: Stage, **keys: Any) -> LearnerSettings:
    usual: dict[str, Any] = {"learning_rate": 1e-4, "weight_decay": 0.1, "micro_batch_tokens": SEVERAL}
    return LearnerSettings(ranks=count, zero_stage=stage, **(usual | keys))
