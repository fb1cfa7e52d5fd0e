"""Find the size of a model from its config.json, or from a table of published models.

Nothing is downloaded and the hub is not contacted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rewards.model_folder import config_file


@dataclass(frozen=True)
class ModelFacts:
    """The dimensions of a Llama-like decoder (Llama, Mistral, Qwen2), as in config.json.

    `biased`: query, key and value have biases, as in Qwen2. `head`: it has an output head, not only a decoder.
    """

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    intermediate: int
    vocab: int
    tied: bool = False
    biased: bool = False
    head: bool = True
    head_dim: int | None = None

    @property
    def parameters(self) -> int:
        """The number of parameters; an embedding and head that share weights count once."""
        width = self.head_dim or self.hidden // self.heads
        queries, keys = self.heads * width, self.kv_heads * width
        attention = self.hidden * (2 * queries + 2 * keys) + (queries + 2 * keys if self.biased else 0)
        layer = attention + 3 * self.hidden * self.intermediate + 2 * self.hidden
        embeddings = self.vocab * self.hidden * (2 if self.head and not self.tied else 1)
        return self.layers * layer + embeddings + self.hidden

    @property
    def kv_elements(self) -> int:
        """The number of values per token in the KV cache."""
        return 2 * self.layers * self.kv_heads * (self.head_dim or self.hidden // self.heads)

    def adapter_parameters(self, rank: int) -> int:
        """Parameters of LoRA adapters of this rank on every linear layer except the head."""
        width = self.head_dim or self.hidden // self.heads
        queries, keys = self.heads * width, self.kv_heads * width
        sides = 2 * (self.hidden + queries) + 2 * (self.hidden + keys) + 3 * (self.hidden + self.intermediate)
        return self.layers * rank * sides


_LLAMA3 = ModelFacts(4096, 32, 32, 8, 14336, 128256)
_QWEN7 = ModelFacts(3584, 28, 28, 4, 18944, 152064, biased=True)
_QWEN3 = ModelFacts(2048, 36, 16, 2, 11008, 151936, tied=True, biased=True)
_QWEN1 = ModelFacts(1536, 28, 12, 2, 8960, 151936, tied=True, biased=True)
_QWEN0 = ModelFacts(896, 24, 14, 2, 4864, 151936, tied=True, biased=True)
_MISTRAL = ModelFacts(4096, 32, 32, 8, 14336, 32000)

PUBLISHED: dict[str, ModelFacts] = {
    **{f"Qwen/Qwen2.5-{kind}": _QWEN7 for kind in ("7B", "7B-Instruct", "Math-7B", "Math-7B-Instruct")},
    **{f"Qwen/Qwen2.5-{kind}": _QWEN1 for kind in ("1.5B", "1.5B-Instruct", "Math-1.5B", "Math-1.5B-Instruct")},
    **{f"Qwen/Qwen2.5-{kind}": _QWEN3 for kind in ("3B", "3B-Instruct")},
    **{f"Qwen/Qwen2.5-{kind}": _QWEN0 for kind in ("0.5B", "0.5B-Instruct")},
    **{f"RLHFlow/Llama3.1-8B-{kind}-Data": _LLAMA3 for kind in ("ORM-Mistral", "ORM-Deepseek")},
    **{f"RLHFlow/Llama3.1-8B-{kind}-Data": _LLAMA3 for kind in ("PRM-Mistral", "PRM-Deepseek")},
    "RLHFlow/LLaMA3-SFT": _LLAMA3,
    "RLHFlow/LLaMA3-SFT-v2": _LLAMA3,
    "meta-llama/Meta-Llama-3-8B-Instruct": _LLAMA3,
    "meta-llama/Llama-3.1-8B-Instruct": _LLAMA3,
    "RLHFlow/ArmoRM-Llama3-8B-v0.1": ModelFacts(4096, 32, 32, 8, 14336, 128257, head=False),  # its heads are small
    "THU-KEG/PairJudge-RM": _QWEN7,
    "mistralai/Mistral-7B-v0.1": _MISTRAL,
    "peiyi9979/mistral-7b-sft": _MISTRAL,
}
"""Sizes of published models by hub name, for planning without their files."""


def facts_of(model: str) -> ModelFacts | None:
    """The size of a model from its folder, the cache or the table; None if unknown."""
    file = config_file(model)
    if file is None:
        return PUBLISHED.get(model)
    try:
        return _facts(json.loads(file.read_text(encoding="utf-8")))
    except (json.JSONDecodeError, KeyError, TypeError):
        return None  # another architecture: the plan reports its size as unknown


def nodes_with_models(node: Any, key: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The nodes of a configuration that load a model (`model`), with their keys.

    Nodes with a `url` are skipped: their model runs elsewhere.
    """
    if isinstance(node, Mapping):
        if isinstance(node.get("model"), str) and "url" not in node:
            yield key, node
        for name, inner in node.items():
            yield from nodes_with_models(inner, f"{key}.{name}")
    elif isinstance(node, list):
        for number, inner in enumerate(node):
            yield from nodes_with_models(inner, f"{key}[{number}]")


def _facts(config: Mapping[str, Any]) -> ModelFacts:
    """The facts in a config.json."""
    kind = str((config.get("architectures") or [""])[0])
    return ModelFacts(
        hidden=config["hidden_size"],
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        kv_heads=config.get("num_key_value_heads") or config["num_attention_heads"],
        intermediate=config["intermediate_size"],
        vocab=config["vocab_size"],
        tied=bool(config.get("tie_word_embeddings", False)),
        biased=kind.startswith("Qwen2") or bool(config.get("attention_bias", False)),
        head=kind.endswith("ForCausalLM"),
        head_dim=config.get("head_dim"),
    )
