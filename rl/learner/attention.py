"""Attention over packed rows: all responses to a prompt share the prompt's keys and values.

It is registered with transformers under a new name. Any transformers model that uses the common attention interface can
select it. Without packed rows it is transformers' own SDPA attention. Responses attend to their prompt as a prefix, as
in cascade and prefix-shared attention (arXiv:2402.05099), and gradients flow back into the prompt.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from rl.learner.packing import Packed

SHARED_PROMPTS = "shared_prompts"


def shared_prompt_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    packed_rows: Packed | None = None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """transformers' interface for attention: query (1, H, T, D), key and value (1, K, T, D) -> (1, T, H, D).

    The model passes `packed_rows` through from its keyword arguments. Raises ValueError if the model has a sliding
    window shorter than a row, because that would change what a token may attend to.
    """
    if packed_rows is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **options
        )
    window = options.get("sliding_window")
    if window is not None and int(packed_rows.position_ids.max()) >= window:
        raise ValueError(f"a sliding window of {window} tokens is shorter than a row")
    output = attend(query[0], key[0], value[0], packed_rows, dropout=dropout, scaling=scaling)
    return output[None], None


def attend(
    query: Tensor, key: Tensor, value: Tensor, rows: Packed, *, dropout: float = 0.0, scaling: float | None = None
) -> Tensor:
    """Query (H, T, D), key and value (K, T, D) with H a multiple of K -> (T, H, D)."""
    heads = query.shape[0]
    attention = partial(scaled_dot_product_attention, dropout_p=dropout, scale=scaling)
    queries, keys, values = (_by_token(tensor, heads) for tensor in (query, key, value))
    asked, prompt_keys, prompt_values = (_take(tensor, rows.prompts, heads) for tensor in (queries, keys, values))
    parts = [_flat(attention(asked, prompt_keys, prompt_values, is_causal=True))]
    if rows.responses.shape[1]:
        asked, own_keys, own_values = (_take(tensor, rows.responses, heads) for tensor in (queries, keys, values))
        seen_keys, seen_values = (
            torch.cat([of_prompt.index_select(0, rows.prompt_of), own], dim=2)
            for of_prompt, own in ((prompt_keys, own_keys), (prompt_values, own_values))
        )
        parts.append(_flat(attention(asked, seen_keys, seen_values, attn_mask=rows.visible)))
    return torch.cat(parts).index_select(0, rows.order)


def _by_token(tensor: Tensor, heads: int) -> Tensor:
    """(K, T, D) -> (T, H * D). Keys and values are repeated for the query heads that share them."""
    if tensor.shape[0] < heads:
        tensor = tensor.repeat_interleave(heads // tensor.shape[0], dim=0)
    return tensor.transpose(0, 1).reshape(tensor.shape[1], -1)


def _take(tensor: Tensor, places: Tensor, heads: int) -> Tensor:
    """Rows of (T, H * D) at the (A, S) places -> (A, H, S, D). Uses `embedding`: its backward pass is the fastest."""
    return embedding(places, tensor).view(*places.shape, heads, -1).transpose(1, 2)


def _flat(tensor: Tensor) -> Tensor:
    """(A, H, S, D) -> (A * S, H, D)."""
    return tensor.transpose(1, 2).flatten(0, 1)


AttentionInterface.register(SHARED_PROMPTS, shared_prompt_attention)
AttentionMaskInterface.register(SHARED_PROMPTS, sdpa_mask)
