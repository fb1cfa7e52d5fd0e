"""Scalar reward models on vLLM, which reads a sequence classifier's head at the last token of what it is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rewards.engines.transformers import Precision
from rewards.engines.vllm_start import start_llm


class VllmScalarEngine:
    """A sequence classifier of one label on an own vLLM engine in this process, loaded at the first call.

    `max_tokens` is the longest conversation; `gpu_memory` the share of the GPU's memory (GPU only).
    """

    def __init__(self, model: str, *, dtype: Precision, max_tokens: int, gpu_memory: float = 0.4) -> None:
        self.path, self.dtype, self.max_tokens, self.gpu_memory = model, dtype, max_tokens, gpu_memory
        self._llm: Any = None

    def load(self) -> Any:
        """The engine, started once."""
        if self._llm is None:
            self._llm = start_llm(
                self.path,
                dtype=self.dtype,
                max_model_len=self.max_tokens,
                gpu_memory=self.gpu_memory,
                runner="pooling",
                convert="classify",
                hf_overrides={"head_dtype": "float32"},
                enable_prefix_caching=False,
            )
        return self._llm

    def values(self, sequences: Sequence[Sequence[int]]) -> list[float]:
        """The head's output, computed in float32, at the last token of each sequence."""
        from vllm import PoolingParams

        answers = self.load().encode(
            [{"prompt_token_ids": list(ids)} for ids in sequences],
            pooling_params=PoolingParams(use_activation=False),  # the raw number, not its sigmoid
            pooling_task="classify",
            use_tqdm=False,
        )
        return [float(answer.outputs.data.float().item()) for answer in answers]
