"""Settings of reward-model training: optimizer, batch sizes, and how rows share a forward pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rl.settings import LearnerSettings, Precision, require

Layout = Literal["balanced", "packed"]


@dataclass(frozen=True)
class TrainingSettings:
    """The keys of `recipe.training`."""

    learning_rate: float
    batch_sequences: int | None = None  # rows per optimizer step; or
    batch_tokens: int | None = None  # tokens per optimizer step
    epochs: int = 1
    warmup: float = 0.0  # share of the steps over which the learning rate rises linearly
    lr_schedule: Literal["constant", "cosine"] = "cosine"
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.95)
    max_grad_norm: float = 1.0
    dtype: Precision = "bf16"
    ranks: int = 1  # DeepSpeed processes, one Ray actor each
    zero_stage: Literal[0, 2, 3] = 2
    max_tokens: int = 8192  # longer rows are left out and reported
    micro_batch_tokens: int = 8192  # tokens (padding included) in one forward pass of one rank
    layout: Layout = "balanced"  # rows of similar length padded to the longest, or rows packed into one
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        require(
            (self.batch_sequences is None) != (self.batch_tokens is None),
            "batch_sequences or batch_tokens must be given, and only one of them",
        )
        for key in ("batch_sequences", "batch_tokens", "epochs", "ranks", "max_tokens"):
            value = getattr(self, key)
            require(value is None or value >= 1, f"{key} must be at least 1, not {value}")
        require(self.learning_rate >= 0, f"learning_rate must not be negative, not {self.learning_rate}")
        require(0 <= self.warmup < 1, f"warmup is a share of the steps, in [0, 1), not {self.warmup}")
        require(self.max_grad_norm > 0, f"max_grad_norm must be above 0, not {self.max_grad_norm}")
        require(
            self.max_tokens <= self.micro_batch_tokens,
            f"max_tokens ({self.max_tokens}) is more than one forward pass may hold "
            f"(micro_batch_tokens, {self.micro_batch_tokens}): lower the first, or raise the second",
        )

    def learner(self, steps: int) -> LearnerSettings:
        """These settings for DeepSpeed's strategy, in a run of `steps` optimizer steps."""
        return LearnerSettings(
            ranks=self.ranks,
            zero_stage=self.zero_stage,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            betas=self.betas,
            max_grad_norm=self.max_grad_norm,
            warmup_updates=round(self.warmup * steps),
            lr_schedule=self.lr_schedule,
            micro_batch_tokens=self.micro_batch_tokens,
            gradient_checkpointing=self.gradient_checkpointing,
        )


@dataclass(frozen=True)
class TrainingSetup:
    """The arguments with which every rank starts.

    `kind`: `labels` for marked positions, with the softmax over the token ids `candidates` (None: the vocabulary);
    `pairs` for Bradley-Terry. `steps`: the optimizer steps of the whole run.
    """

    model: str
    kind: Literal["labels", "pairs"]
    settings: TrainingSettings
    device: Literal["cpu", "cuda"]
    seed: int
    steps: int
    candidates: tuple[int, ...] | None = None

    @property
    def layout(self) -> Layout:
        """How rows share a forward pass; pairs are always padded."""
        return self.settings.layout if self.kind == "labels" else "balanced"
