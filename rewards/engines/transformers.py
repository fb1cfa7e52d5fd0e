"""Reward models on transformers: batches sorted by length, and the head applied only at the positions to read.

Sequences with a common beginning, such as the responses to one problem, compute it once (`rewards.engines.prefixes`).
For all others no attention mask is passed: attention is causal and padding is on the right, so no real token sees it,
and sdpa uses its fast causal path.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoModel, LlamaModel
from transformers.utils import logging as transformers_logging

from rewards.engines.batches import token_batches
from rewards.engines.checkpoint import Checkpoint, check_loading, first_line
from rewards.engines.onednn import use_onednn
from rewards.engines.options import ModelOptions
from rewards.engines.prefixes import Prefixes, can_share, families, padded
from rewards.engines.runner import Head, HeadFunction

_logger = logging.getLogger(__name__)


class TransformersRunner:
    """See `rewards.engines.runner.Runner`."""

    def __init__(self, checkpoint: Checkpoint, options: ModelOptions) -> None:
        self.checkpoint, self.options = checkpoint, options
        self.shares = False  # decided when the decoder is loaded
        self._decoder: Any = None
        self._head: Head | None = None
        self._function: HeadFunction | None = None

    def read(self, sequences: Sequence[Sequence[int]], positions: Sequence[Sequence[int]], head: Head) -> list[Tensor]:
        """See `rewards.engines.runner.Runner`."""
        if not sequences:
            return []
        decoder, function = self.load(head)
        return at_positions(
            decoder,
            sequences,
            positions,
            function,
            batch_tokens=self.options.forward_tokens,
            share=self.shares,
        )

    def load(self, head: Head) -> tuple[nn.Module, HeadFunction]:
        """The decoder and the head, each loaded once. Raises ValueError if the checkpoint lacks tensors of either."""
        if self._decoder is None:
            decoder = load_decoder(self.checkpoint, self.options, head.tensors)
            use_onednn(decoder)
            self._decoder, self.shares = decoder, can_share(decoder)
            way = "computed once per group" if self.shares else "computed with each response (no reusable cache)"
            _logger.info("%s: a prompt shared by several responses is %s", self.checkpoint.path, way)
        if self._function is None or head is not self._head:
            self._head, self._function = head, head.load(self.checkpoint, self.options)
        return self._decoder, self._function


def load_decoder(checkpoint: Checkpoint, options: ModelOptions, head_tensors: Sequence[str] = ()) -> Any:
    """Load the checkpoint's decoder. `head_tensors` are prefixes of the names of tensors that a head reads itself.

    Raises ValueError for files that cannot be read, and as `check_loading` does.
    """
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # its table of unused tensors, which check_loading reports in one line
    loading: dict[str, Any] = {
        "dtype": options.torch_dtype,
        "attn_implementation": "sdpa",
        "output_loading_info": True,
        "ignore_mismatched_sizes": True,  # check_loading refuses them, by name
    }
    try:
        if checkpoint.is_internlm2:
            renamed = checkpoint.llama_tensors()
            decoder, info = LlamaModel.from_pretrained(None, config=checkpoint.config, state_dict=renamed, **loading)
        else:
            decoder, info = AutoModel.from_pretrained(checkpoint.path, trust_remote_code=False, **loading)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"model {checkpoint.path}: cannot read its weights ({first_line(error)})") from error
    finally:
        transformers_logging.set_verbosity(verbosity)
    check_loading(checkpoint.path, info, head_tensors)
    return decoder.to(options.torch_device).eval()


def at_positions(
    decoder: nn.Module,
    sequences: Sequence[Sequence[int]],
    positions: Sequence[Sequence[int]],
    head: HeadFunction,
    *,
    batch_tokens: int,
    share: bool = False,
) -> list[Tensor]:
    """The output of `head` for the final hidden states at the given positions.

    `decoder` is a transformers model without a head. `head` maps the (R, H) hidden states of one batch to a tensor of R
    rows. Returns the rows of each sequence, in the order of its positions, on the CPU. With `share`, sequences with a
    common beginning compute it once if that saves enough; see `prefixes.can_share`.
    """
    results: list[Tensor] = [torch.empty(0)] * len(sequences)

    def give(values: Tensor, members: Sequence[int]) -> None:
        found = values.cpu().split([len(positions[index]) for index in members])
        for index, value in zip(members, found, strict=True):
            results[index] = value

    shared = [one for one in families(sequences) if one.worth_sharing(sequences)] if share else []
    alone = sorted(set(range(len(sequences))).difference(*(family.members for family in shared)))
    with torch.inference_mode():
        for together in token_batches([family.length for family in shared], batch_tokens):
            prefixes = Prefixes(decoder, [shared[number] for number in together], sequences)
            for batch in token_batches(prefixes.rest_lengths, batch_tokens):
                give(head(prefixes.states(batch, positions)), [prefixes.members[number] for number in batch])
        for batch in token_batches([len(sequences[index]) for index in alone], batch_tokens):
            members = [alone[number] for number in batch]
            rows = [row for row, index in enumerate(members) for _ in positions[index]]
            columns = [column for index in members for column in positions[index]]
            input_ids = padded([sequences[index] for index in members], decoder)
            hidden = decoder(input_ids=input_ids, use_cache=False).last_hidden_state
            give(head(hidden[rows, columns]), members)
    return results
