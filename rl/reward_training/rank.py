"""One rank of a reward model's training as a Ray actor. Heavy imports come after its output goes to its log file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from rl.cluster import free_address, redirect_output
from rl.learner.batching import Micro, Step
from rl.reward_training.settings import TrainingSetup


class TrainingRank:
    """Sets up torch.distributed and forwards calls to the trainer."""

    def __init__(self, rank: int, log_folder: str) -> None:
        redirect_output(Path(log_folder), f"trainer-{rank}")
        self.rank = rank
        self.trainer: Any = None
        self.items: dict[str, Any] = {}

    def address(self) -> tuple[str, int]:
        """An address on this node where the ranks can meet."""
        return free_address()

    def start(self, address: tuple[str, int], setup: TrainingSetup, items: Any, held_out: Any) -> None:
        """Join the other ranks, load the model, and store the rows to train and evaluate on."""
        host, port = address
        settings = setup.settings
        os.environ |= {
            "MASTER_ADDR": host,
            "MASTER_PORT": str(port),
            "RANK": str(self.rank),
            "LOCAL_RANK": "0",
            "WORLD_SIZE": str(settings.ranks),
        }
        from rl.learner.strategy import DeviceStrategy  # isort: skip  # sets OpenRLHF up for this machine
        from rl.reward_training.trainer import RewardTrainer

        strategy = DeviceStrategy(settings.learner(setup.steps), settings.dtype, setup.device, setup.seed)
        strategy.setup_distributed()
        self.trainer = RewardTrainer(setup, strategy)
        self.items = {"train": items, "held_out": held_out}

    def step(self, step: Step) -> dict[str, float]:
        """See RewardTrainer.step."""
        return self.trainer.step(self.items["train"], step)

    def evaluate(self, micros: list[list[Micro]]) -> dict[str, float]:
        """See RewardTrainer.evaluate; uses the held-out rows."""
        return self.trainer.evaluate(self.items["held_out"], micros)

    def save_model(self, folder: str) -> None:
        """See RewardTrainer.save_model."""
        self.trainer.save_model(Path(folder))

    def save(self, folder: str) -> None:
        """See RewardTrainer.save."""
        self.trainer.save(Path(folder))

    def load(self, folder: str) -> None:
        """See RewardTrainer.load."""
        self.trainer.load(Path(folder))
