"""Label models on vLLM: a pooling model whose one-number head is the difference of the two label rows of the LM head.

vLLM builds that head itself (`from_2_way_softmax`): a sigmoid of the difference of two logits is their softmax. The
probability comes back for every token; the scored positions are picked here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from rewards.engines.transformers import Precision
from rewards.engines.vllm_start import start_llm


class VllmEngine:
    """A causal language model asked for the probability of one label against another, on an own vLLM engine.

    It lives in this process and loads its weights at the first call. `max_tokens` is the longest input; `gpu_memory`
    the share of the GPU's memory (GPU only).
    """

    def __init__(
        self,
        model: str,
        tokenizer: PreTrainedTokenizerBase,
        *,
        dtype: Precision = "fp32",
        max_tokens: int,
        gpu_memory: float = 0.4,
    ) -> None:
        self.path, self.tokenizer, self.dtype = model, tokenizer, dtype
        self.max_tokens, self.gpu_memory = max_tokens, gpu_memory
        self._llm: Any = None
        self._label_ids: tuple[int, int] | None = None

    def load(self, label_ids: tuple[int, int]) -> Any:
        """The engine, started once. Raises ValueError for labels other than those it was started with."""
        if self._llm is None:
            positive, negative = self.tokenizer.convert_ids_to_tokens(list(label_ids))
            self._llm = start_llm(
                self.path,
                dtype=self.dtype,
                max_model_len=self.max_tokens,
                gpu_memory=self.gpu_memory,
                runner="pooling",
                convert="classify",
                hf_overrides={"classifier_from_token": [negative, positive], "method": "from_2_way_softmax"},
                pooler_config={"task": "token_classify"},
                enable_prefix_caching=False,  # a cached token has no score
            )
            self._label_ids = label_ids
        if label_ids != self._label_ids:
            raise ValueError(f"this engine scores labels {self._label_ids}, not {label_ids}: make another")
        return self._llm

    def label_probabilities(
        self, sequences: Sequence[Sequence[int]], positions: Sequence[Sequence[int]], label_ids: tuple[int, int]
    ) -> list[list[float]]:
        """P(first label | first or second label) as the token *after* each given position of each sequence."""
        if not sequences:
            return []
        answers = self.load(label_ids).encode(
            [{"prompt_token_ids": list(ids)} for ids in sequences], pooling_task="token_classify", use_tqdm=False
        )
        return [
            answer.outputs.data.float().flatten()[list(places)].tolist()
            for answer, places in zip(answers, positions, strict=True)
        ]
