"""Learner ranks for tests: processes that stay up while one policy after another is loaded into them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

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

TEMPERATURE = 0.7
ONE_PASS, SEVERAL = 10_000, 90  # micro_batch_tokens: everything at once, and rows two by two
Stage = Literal[0, 2, 3]


class Ranks:
    """`count` learner ranks, as LearnerGroup runs them."""

    def __init__(self, count: int, cluster: ClusterSettings, folder: Path, logs: Path) -> None:
        actor: Any = ray.remote(LearnerRank).options(**actor_options(cluster, "learner", model_path=str(folder)))
        self.logs = logs / str(count)
        self.actors = [actor.remote(rank, str(self.logs)) for rank in range(count)]
        self.address = self._finish([self.actors[0].address.remote()], "address")[0]
        self.folder = folder

    def all(self, method: str, *arguments: Any) -> list[Any]:
        return self._finish([getattr(actor, method).remote(*arguments) for actor in self.actors], method)

    def _finish(self, refs: list[Any], what: str) -> list[Any]:
        names = [f"learner-{rank}" for rank in range(len(refs))]
        return call(refs, 240, what, names=names, log_folder=self.logs)

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
        for rows, mine, theirs in (part for answer in self._finish(refs, "logprobs") for part in answer):
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


def settings_for(count: int, stage: Stage, **keys: Any) -> LearnerSettings:
    usual: dict[str, Any] = {"learning_rate": 1e-4, "weight_decay": 0.1, "micro_batch_tokens": SEVERAL}
    return LearnerSettings(ranks=count, zero_stage=stage, **(usual | keys))
