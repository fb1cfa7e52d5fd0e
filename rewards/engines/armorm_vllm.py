"""ArmoRM on vLLM, as a pooling model registered under its published architecture name.

The heads run on every token, which costs next to nothing beside the decoder: the regression is wanted at the last token
and the gate at the prompt's end, and a pooler sees neither the template nor the turns. So 3K numbers a token come back,
[rewards | gate | gate @ T.T], and `VllmArmoEngine` picks the two rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from vllm import ModelRegistry, PoolingParams
from vllm.model_executor.layers.pooler.tokwise import AllPool, TokenClassifierPoolerHead, TokenPooler
from vllm.model_executor.models.interfaces_base import default_pooling_type
from vllm.model_executor.models.llama import LlamaModel
from vllm.model_executor.models.utils import AutoWeightsLoader, maybe_prefix

from rewards.armorm_model import ARCHITECTURE, ArmoOutput, GatingNetwork
from rewards.engines.transformers import Precision
from rewards.engines.vllm_start import start_llm


@default_pooling_type(tok_pooling_type="ALL")
class ArmoForVllm(nn.Module):
    """The decoder on vLLM's layers and ArmoRM's heads in float32. The arguments' names are vLLM's to choose."""

    is_pooling_model = True
    hf_to_vllm_mapper = LlamaModel.hf_to_vllm_mapper
    packed_modules_mapping = {  # noqa: RUF012
        "qkv_proj": ["q_proj", "k_proj", "v_proj"],
        "gate_up_proj": ["gate_proj", "up_proj"],
    }

    def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
        super().__init__()
        config = vllm_config.model_config.hf_config
        objectives = config.num_objectives
        self.model = LlamaModel(vllm_config=vllm_config, prefix=maybe_prefix(prefix, "model"))
        # vLLM builds models under its own default type: the heads stay float32.
        self.regression_layer = nn.Linear(config.hidden_size, objectives, bias=False).float()
        self.reward_transform_matrix = nn.Parameter(torch.eye(objectives, dtype=torch.float32), requires_grad=False)
        self.gating = GatingNetwork(
            config.hidden_size,
            objectives,
            width=config.gating_hidden_dim,
            hidden=config.gating_n_hidden,
            temperature=config.gating_temperature,
        ).float()
        head = TokenClassifierPoolerHead(head_dtype=torch.float32, classifier=None, activation=None)
        self.pooler = TokenPooler(pooling=AllPool(), head=head)

    def embed_input_ids(self, input_ids: Tensor) -> Tensor:
        """Token embeddings."""
        return self.model.embed_input_ids(input_ids)

    def forward(
        self,
        input_ids: Tensor | None,
        positions: Tensor,
        intermediate_tensors: Any = None,
        inputs_embeds: Tensor | None = None,
    ) -> Tensor:
        """(tokens, 3K) float32: rewards, gate and effective coefficients read at every token."""
        hidden = self.model(input_ids, positions, intermediate_tensors, inputs_embeds).float()
        gate = self.gating(hidden)
        return torch.cat([self.regression_layer(hidden), gate, gate @ self.reward_transform_matrix.T], dim=-1)

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        """Load the published tensors; vLLM itself refuses a checkpoint that lacks one."""
        return AutoWeightsLoader(self).load_weights(weights, mapper=self.hf_to_vllm_mapper)


class VllmArmoEngine:
    """ArmoRM on an own vLLM engine in this process; the weights are loaded at the first call.

    `max_tokens` is the longest conversation; `gpu_memory` the share of the GPU's memory (GPU only).
    """

    def __init__(self, model: str, *, dtype: Precision, max_tokens: int, gpu_memory: float = 0.4) -> None:
        self.path, self.dtype, self.max_tokens, self.gpu_memory = model, dtype, max_tokens, gpu_memory
        self._llm: Any = None

    def load(self) -> Any:
        """The engine, started once."""
        if self._llm is None:
            ModelRegistry.register_model(ARCHITECTURE, ArmoForVllm)
            self._llm = start_llm(
                self.path,
                dtype=self.dtype,
                max_model_len=self.max_tokens,
                gpu_memory=self.gpu_memory,
                runner="pooling",
                enable_prefix_caching=False,
            )
        return self._llm

    def outputs(self, sequences: Sequence[Sequence[int]], prompt_positions: Sequence[int]) -> ArmoOutput:
        """The heads at each sequence's last token and its prompt's end, float32 on the CPU."""
        answers = self.load().encode(
            [{"prompt_token_ids": list(ids)} for ids in sequences],
            pooling_params=PoolingParams(use_activation=False),
            pooling_task="token_classify",
            use_tqdm=False,
        )
        read = [answer.outputs.data.float().cpu() for answer in answers]
        rewards = torch.stack([rows[-1] for rows in read]).chunk(3, dim=-1)[0]
        _, gate, coefficients = torch.stack(
            [rows[position] for rows, position in zip(read, prompt_positions, strict=True)]
        ).chunk(3, dim=-1)
        return ArmoOutput((rewards * coefficients).sum(dim=-1), rewards, gate, coefficients)
