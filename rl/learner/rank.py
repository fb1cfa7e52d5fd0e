"""One DeepSpeed rank as a Ray actor.

Heavy imports happen inside the methods, after the process's output has been sent to its log file; the driver, which
imports this module to start the actors, stays light.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from rl.cluster import free_address, redirect_output
from rl.learner.batching import Micro, Step
from rl.learner.losses import PolicyLossSettings
from rl.settings import LearnerSettings, PolicySettings
from rl.types import TrainBatch


class LearnerRank:
    """One of `settings.ranks` ranks: sets up torch.distributed and passes the calls on to `PolicyLearner`."""

    def __init__(self, rank: int, log_folder: str) -> None:
        redirect_output(Path(log_folder), f"learner-{rank}")
        self.rank = rank
        self.learner: Any = None

    def address(self) -> tuple[str, int]:
        """Where the ranks can meet on this node."""
        return free_address()

    def start(
        self,
        address: tuple[str, int],
        policy: PolicySettings,
        settings: LearnerSettings,
        device: str,
        loss: PolicyLossSettings,
        options: dict[str, Any],
        seed: int,
    ) -> None:
        """Join the other ranks, if not done before, and load the policy.

        `options` are PolicyLearner's temperature and with_reference.
        """
        host, port = address
        os.environ |= {
            "MASTER_ADDR": host,
            "MASTER_PORT": str(port),
            "RANK": str(self.rank),
            "LOCAL_RANK": "0",
            "WORLD_SIZE": str(settings.ranks),
        }
        from rl.learner.strategy import DeviceStrategy  # isort: skip  # sets OpenRLHF up for this machine
        from rl.learner.policy import PolicyLearner

        strategy = DeviceStrategy(settings, policy.dtype, device, seed)
        strategy.setup_distributed()
        self.learner = PolicyLearner(policy, strategy, loss, **options)

    def logprobs(self, batch: TrainBatch, micros: list[Micro]) -> list[tuple[Micro, Any, Any]]:
        """See PolicyLearner.logprobs; arrays instead of tensors, which travel without a copy."""
        return [
            (rows, policy.numpy(), None if reference is None else reference.numpy())
            for rows, policy, reference in self.learner.logprobs(batch, micros)
        ]

    def update(self, batch: TrainBatch, steps: list[Step]) -> dict[str, float]:
        """See PolicyLearner.update."""
        return self.learner.update(batch, steps)

    def weights(self, bucket_bytes: int) -> list[Any]:
        """References to the weights' buckets in the object store; empty on every rank but 0."""
        import ray

        return [ray.put(bucket) for bucket in self.learner.buckets(bucket_bytes) if bucket is not None]

    def save_policy(self, folder: str) -> None:
        """See PolicyLearner.save_policy."""
        self.learner.save_policy(Path(folder))

    def save_checkpoint(self, folder: str) -> None:
        """See PolicyLearner.save_checkpoint."""
        self.learner.save_checkpoint(Path(folder))

    def load_checkpoint(self, folder: str) -> None:
        """See PolicyLearner.load_checkpoint."""
        self.learner.load_checkpoint(Path(folder))
