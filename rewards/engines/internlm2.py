"""InternLM2 reward models as Llamas: transformers has the architecture only as remote code, which is never run.

InternLM2 (arXiv 2403.17297) is a Llama decoder under other names. Its one matrix for queries, keys and values is laid
out by groups: for each key-value head its queries, then its key, then its value. Splitting it gives Llama's matrices.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from transformers import LlamaConfig

MODEL_TYPE = "internlm2"

_SAME = (
    "architectures",
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "hidden_act",
    "max_position_embeddings",
    "rms_norm_eps",
    "initializer_range",
    "rope_theta",
    "rope_scaling",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "reward_token_id",
)
"""Keys of config.json that mean the same in Llama's."""

_NAMES = {
    "tok_embeddings.weight": "embed_tokens.weight",
    "attention_norm.weight": "input_layernorm.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
    "attention.wo.": "self_attn.o_proj.",
    "feed_forward.w1.": "mlp.gate_proj.",
    "feed_forward.w3.": "mlp.up_proj.",
    "feed_forward.w2.": "mlp.down_proj.",
}
_QKV = "attention.wqkv."


def llama_config(config: Mapping[str, Any]) -> LlamaConfig:
    """Llama's configuration for the content of an InternLM2 config.json. Raises ValueError if a key is missing.

    Dynamic scaling of the rotary embedding is left out: it changes nothing up to `max_position_embeddings`, and longer
    inputs are refused.
    """
    for key in ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"):
        if key not in config:
            raise ValueError(f"an InternLM2 model needs {key}")
    given = {key: config[key] for key in _SAME if config.get(key) is not None}
    if (given.get("rope_scaling") or {}).get("type") == "dynamic":
        del given["rope_scaling"]
    return LlamaConfig(**given, attention_bias=bool(config.get("bias")), tie_word_embeddings=False)


def llama_tensors(tensors: Mapping[str, Tensor], config: LlamaConfig) -> dict[str, Tensor]:
    """The decoder's tensors under the names that a `LlamaModel` has; tensors of heads keep their own names.

    Raises ValueError for a matrix of queries, keys and values of another size than the configuration says.
    """
    heads, groups = config.num_attention_heads, config.num_key_value_heads
    size = config.hidden_size // heads
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        inner = name.removeprefix("model.")
        if _QKV not in inner:
            for theirs, ours in _NAMES.items():
                inner = inner.replace(theirs, ours)
            found[inner] = tensor
            continue
        if tensor.shape[0] != (heads + 2 * groups) * size:
            raise ValueError(f"{name} has {tensor.shape[0]} rows instead of {(heads + 2 * groups) * size}")
        grouped = tensor.reshape(groups, heads // groups + 2, size, *tensor.shape[1:])
        for part, rows in (("q", slice(0, -2)), ("k", slice(-2, -1)), ("v", slice(-1, None))):
            flat = grouped[:, rows].reshape(-1, *tensor.shape[1:])
            found[inner.replace(_QKV, f"self_attn.{part}_proj.")] = flat.contiguous()
    return found
