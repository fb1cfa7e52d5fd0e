"""The options that every reward model has, checked in one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from transformers import PretrainedConfig

from rewards.options import require_read

Precision = Literal["fp32", "bf16"]
EngineName = Literal["transformers", "vllm"]
Overlong = Literal["fail", "cut"]

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}

BATCH_TOKENS = {"cpu": 1024, "cuda": 16384}
"""Default number of tokens per forward pass. On a CPU, small batches keep activations in cache and in memory that is
already mapped; larger ones spend time on page faults."""


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """How a reward model is run. Raises ValueError for a value that cannot work.

    dtype: of the decoder's weights. device: cpu, cuda, or auto (cuda if this process sees one).
    max_tokens: longest input in tokens; None uses the model's limit.
    batch_tokens: tokens per forward pass of transformers, padding included; None uses `BATCH_TOKENS` of the device.
    overlong: what happens to a longer input: `fail` fails its score, `cut` shortens it.
    engine: transformers or vllm; both give the same scores. gpu_memory: vLLM's share of a GPU's memory, in (0, 1].
    chat_template_kwargs: options of the model's chat template, such as `enable_thinking`; None for none.
    """

    dtype: Precision = "fp32"
    device: str = "auto"
    max_tokens: int | None = None
    batch_tokens: int | None = None
    overlong: Overlong = "fail"
    engine: EngineName = "transformers"
    gpu_memory: float = 0.4
    chat_template_kwargs: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        check_dtype(self.dtype)
        if self.batch_tokens is not None and self.batch_tokens < 1:
            raise ValueError(f"batch_tokens must be at least 1, not {self.batch_tokens}")
        if self.overlong not in ("fail", "cut"):
            raise ValueError(f"overlong must be fail or cut, not {self.overlong!r}")
        if self.engine not in ("transformers", "vllm"):
            raise ValueError(f"engine must be transformers or vllm, not {self.engine!r}")
        if not 0 < self.gpu_memory <= 1:
            raise ValueError(f"gpu_memory is a share of a GPU's memory, in (0, 1], not {self.gpu_memory}")
        require_read(self, "batch_tokens", self.engine == "transformers", "engine=transformers")
        require_read(self, "gpu_memory", self.engine == "vllm", "engine=vllm")

    @property
    def torch_dtype(self) -> torch.dtype:
        """The dtype as torch names it."""
        return DTYPES[self.dtype]

    @property
    def torch_device(self) -> str:
        """The device as torch names it."""
        return pick_device(self.device)

    @property
    def forward_tokens(self) -> int:
        """Tokens per forward pass, padding included."""
        return self.batch_tokens or default_batch_tokens(self.torch_device)

    def longest_input(self, config: PretrainedConfig, model: str) -> int:
        """The longest input in tokens: `max_tokens`, or the number of positions that `model` was made for.

        Raises ValueError if neither is known, or if `max_tokens` is out of range.
        """
        limit = getattr(config, "max_position_embeddings", None)
        if self.max_tokens is None:
            if limit is None:
                raise ValueError(f"max_tokens must be given: {model} does not name its max_position_embeddings")
            return int(limit)
        if self.max_tokens < 1 or (limit is not None and self.max_tokens > limit):
            raise ValueError(f"max_tokens must be between 1 and the model's {limit} positions, not {self.max_tokens}")
        return self.max_tokens


def check_dtype(dtype: str) -> None:
    """Raise ValueError unless this is one of `DTYPES`."""
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, not {dtype!r}")


def pick_device(device: str) -> str:
    """For `auto`, cuda if this process sees a GPU, else cpu; any other name is returned unchanged."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device


def default_batch_tokens(device: str) -> int:
    """`BATCH_TOKENS` of a device as torch names it, for example `cuda:1`."""
    return BATCH_TOKENS["cpu" if device == "cpu" else "cuda"]
