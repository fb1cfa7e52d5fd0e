"""Reward models on vLLM: the decoder runs as a pooling model that returns hidden states; the head is applied here.

So a head is written once for both engines. The decoder is vLLM's own class for the architecture, without the head's
tensors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM
from vllm import ModelRegistry, PoolingParams
from vllm.model_executor.models.adapters import as_embedding_model

from rewards.engines.checkpoint import Checkpoint
from rewards.engines.options import ModelOptions
from rewards.engines.runner import Head, HeadFunction
from rewards.engines.vllm_start import start_llm

CALL_TOKENS = 65536
"""Tokens per call of the engine when every token's hidden state comes back: one GiB in float32 at a width of 4096."""


class VllmRunner:
    """See `rewards.engines.runner.Runner`. The engine runs in this process.

    `ends_only`: only the last token of each sequence is read; the prefix cache then computes shared prompts once.
    """

    def __init__(self, checkpoint: Checkpoint, options: ModelOptions, *, max_tokens: int, ends_only: bool) -> None:
        self.checkpoint, self.options, self.max_tokens, self.ends_only = checkpoint, options, max_tokens, ends_only
        self._llm: Any = None
        self._head: Head | None = None
        self._function: HeadFunction | None = None

    def read(self, sequences: Sequence[Sequence[int]], positions: Sequence[Sequence[int]], head: Head) -> list[Tensor]:
        """See `rewards.engines.runner.Runner`."""
        if not sequences:
            return []
        llm, function = self.load(head)
        found: list[Tensor] = []
        for start, end in _calls([len(sequence) for sequence in sequences], CALL_TOKENS):
            answers = llm.encode(
                [{"prompt_token_ids": list(ids)} for ids in sequences[start:end]],
                pooling_params=PoolingParams(use_activation=False),  # not normalised
                pooling_task=self._task,
                use_tqdm=False,
            )
            read = positions[start:end]
            states = [
                answer.outputs.data[None] if self.ends_only else answer.outputs.data[list(places)]
                for answer, places in zip(answers, read, strict=True)
            ]
            with torch.inference_mode():
                values = function(torch.cat(states).to(self.options.torch_device)).cpu()
            found.extend(values.split([len(places) for places in read]))
        return found

    def load(self, head: Head) -> tuple[Any, HeadFunction]:
        """The engine and the head, each loaded once."""
        if self._llm is None:
            self._llm = start_llm(
                self.checkpoint.path,
                dtype=self.options.dtype,
                max_model_len=self.max_tokens,
                gpu_memory=self.options.gpu_memory,
                runner="pooling",
                hf_overrides={"architectures": [_register(self.checkpoint, head.tensors)], "head_dtype": "model"},
                pooler_config={"task": self._task},
                enable_prefix_caching=self.ends_only,  # there is no hidden state for a token taken from the cache
            )
        if self._function is None or head is not self._head:
            self._head, self._function = head, head.load(self.checkpoint, self.options)
        return self._llm, self._function

    @property
    def _task(self) -> str:
        return "embed" if self.ends_only else "token_embed"


def _register(checkpoint: Checkpoint, head_tensors: tuple[str, ...]) -> str:
    """Register vLLM's class for the decoder, which loads all tensors except the head's. Returns its registered name."""
    causal = AutoModelForCausalLM._model_mapping.get(type(checkpoint.config), None)
    name = "" if causal is None else causal.__name__
    if name not in ModelRegistry.models:
        kind = type(checkpoint.config).__name__
        raise ValueError(f"engine: vLLM has no decoder for {kind} of {checkpoint.path}: set engine=transformers")
    base = as_embedding_model(ModelRegistry.models[name].load_model_cls())

    class Decoder(base):  # type: ignore[valid-type, misc]
        def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> Any:
            return super().load_weights(one for one in weights if not one[0].startswith(head_tensors))

    registered = f"RewardDecoder{len(ModelRegistry.models)}"
    ModelRegistry.register_model(registered, Decoder)
    return registered


def _calls(lengths: Sequence[int], budget: int) -> Iterator[tuple[int, int]]:
    """Ranges of consecutive sequences with at most `budget` tokens in total; a longer sequence gets its own range."""
    start = total = 0
    for index, length in enumerate(lengths):
        if total + length > budget and index > start:
            yield start, index
            start, total = index, 0
        total += length
    yield start, len(lengths)
