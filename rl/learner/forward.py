"""One pass of a model over rows of a batch that returns only the log-probabilities or values of the response tokens.

The model's `forward` gets two more keyword arguments, so that every call still goes through DeepSpeed's engine, peft
and transformers' hooks. With `packed_rows`, the decoder reads the packed tokens once. The head is applied only at the
positions that predict a response token, in chunks, so the logits of a large vocabulary never exist all at once.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from rl.learner.packing import Packed

LOGIT_BYTES = 256 * 2**20
"""The most bytes of float32 logits at a time. More are computed in chunks, and recomputed in the backward pass."""


def reads_packed_rows(model: Any, read: Callable[[Any, Tensor, Packed, float], Tensor]) -> None:
    """Add `packed_rows` and `temperature` to the arguments of the model's `forward`; it then returns `read`'s result.

    `read(model, states, rows, temperature)` gets the decoder's last hidden states (T, W) and returns (N,) values. A
    call without `packed_rows` goes to the original `forward`.
    """
    own = model.forward

    def forward(
        self: Any, *arguments: Any, packed_rows: Packed | None = None, temperature: float = 1.0, **options: Any
    ) -> Any:
        if packed_rows is None:
            return own(*arguments, **options)
        decoder = getattr(self, self.base_model_prefix)
        output = decoder(
            input_ids=packed_rows.input_ids,
            position_ids=packed_rows.position_ids,
            # transformers passes a four-dimensional mask on unchanged; attention over packed rows has its own mask.
            attention_mask=torch.ones(1, 1, 1, 1, dtype=torch.bool, device=packed_rows.input_ids.device),
            use_cache=False,
            packed_rows=packed_rows,
        )
        return read(self, output.last_hidden_state[0], packed_rows, temperature)

    model.forward = MethodType(forward, model)


def read_logprobs(model: Any, states: Tensor, rows: Packed, temperature: float) -> Tensor:
    """The log-probability (natural logarithm) of each predicted token at this temperature, (N,) float32."""
    head = model.get_output_embeddings()

    def chunk(hidden: Tensor, targets: Tensor) -> Tensor:
        logits = head(hidden).float()
        return -cross_entropy(logits / temperature if temperature != 1.0 else logits, targets, reduction="none")

    hidden = states.index_select(0, rows.predicts)
    size = max(1, LOGIT_BYTES // (4 * model.config.vocab_size))
    if len(hidden) <= size:
        return chunk(hidden, rows.targets)
    parts = zip(hidden.split(size), rows.targets.split(size), strict=True)
    if not torch.is_grad_enabled():
        return torch.cat([chunk(*part) for part in parts])
    return torch.cat([checkpoint(chunk, *part, use_reentrant=False) for part in parts])


def read_values(model: Any, states: Tensor, rows: Packed, temperature: float) -> Tensor:
    """The value before each predicted token, (N,) float32, from OpenRLHF's value head."""
    head = getattr(model, model.value_head_prefix)
    return head(states.index_select(0, rows.predicts)).squeeze(-1).float()
