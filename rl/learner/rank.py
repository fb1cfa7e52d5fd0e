"""One DeepSpeed rank as a Ray actor.

Heavy imports are inside the methods, so that they happen after the output has been redirected to the log file, and so
that the driver, which imports this module to start the actors, does not load them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from rl.cluster import free_address, redirect_output
from rl.learner.batching import Micro, Step
from rl.learner.losses import PreferenceLossSettings
from rl.learner.setup import LearnerSetup
from rl.types import Preferences, TrainBatch


class LearnerRank:
    """One rank: sets up torch.distributed and passes calls on to the learner for this kind of loss."""

    def __init__(self, rank: int, log_folder: str) -> None:
        redirect_output(Path(log_folder), f"learner-{rank}")
        self.rank = rank
        self.learner: Any = None

    def address(self) -> tuple[str, int]:
        """An address on this node for torch.distributed's rendezvous."""
        return free_address()

    def start(self, address: tuple[str, int], setup: LearnerSetup) -> str | None:
        """Join the other ranks and load the models.

        Returns None if responses can share their prompt's computation, otherwise the reason why not.
        """
        host, port = address
        os.environ |= {
            "MASTER_ADDR": host,
            "MASTER_PORT": str(port),
            "RANK": str(self.rank),
            "LOCAL_RANK": "0",
            "WORLD_SIZE": str(setup.settings.ranks),
        }
        from rl.learner.strategy import DeviceStrategy  # isort: skip  # sets OpenRLHF up for this machine
        from rl.learner.policy import PolicyLearner
        from rl.learner.preference import PreferenceLearner

        strategy = DeviceStrategy(setup.settings, setup.policy.dtype, setup.device, setup.seed)
        strategy.setup_distributed()
        kind = PreferenceLearner if isinstance(setup.loss, PreferenceLossSettings) else PolicyLearner
        self.learner = kind(setup, strategy)
        return self.learner.not_shared_because

    def logprobs(self, batch: TrainBatch, micros: list[Micro]) -> list[tuple[Any, ...]]:
        """See Learner.logprobs. Returns arrays instead of tensors, because Ray passes arrays on without a copy."""
        return [
            (rows, *(None if values is None else values.numpy() for values in found))
            for rows, *found in self.learner.logprobs(batch, micros)
        ]

    def values(self, batch: TrainBatch, micros: list[Micro]) -> list[tuple[Micro, Any]]:
        """See PolicyLearner.values."""
        return [(rows, values.numpy()) for rows, values in self.learner.values(batch, micros)]

    def update(self, data: TrainBatch | Preferences, steps: list[Step], seed: int, **options: Any) -> dict[str, float]:
        """See the learner's update. `seed` determines dropout, so that a resumed run is the same."""
        import torch

        torch.manual_seed(seed * 1009 + self.rank)
        return self.learner.update(data, steps, **options)

    def refresh_reference(self) -> None:
        """See Learner.refresh_reference."""
        self.learner.refresh_reference()

    def weights(self, bucket_bytes: int) -> list[Any]:
        """References to the weights' buckets in the object store. Empty on all ranks except rank 0."""
        import ray

        return [ray.put(bucket) for bucket in self.learner.buckets(bucket_bytes) if bucket is not None]

    def save_policy(self, folder: str, average: str | None) -> None:
        """See Learner.save_policy."""
        self.learner.save_policy(Path(folder), None if average is None else Path(average))

    def save_checkpoint(self, folder: str) -> None:
        """See the learner's save_checkpoint."""
        self.learner.save_checkpoint(Path(folder))

    def load_checkpoint(self, folder: str) -> None:
        """See the learner's load_checkpoint."""
        self.learner.load_checkpoint(Path(folder))
