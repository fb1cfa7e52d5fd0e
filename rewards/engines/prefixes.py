"""Compute the common beginning of several sequences once, such as the problem that the responses of a group share.

The decoder runs over the prefixes, then over the rest of every sequence, with the prefix's keys and values in its
cache. A token attends to the same tokens at the same positions as in the whole sequence, so the results agree to
rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

LEAST_SAVED = 0.2
"""The share of its tokens that a family must save; if it saves less, its prefix is not shared."""


@dataclass(frozen=True)
class Family:
    """Sequences, by index, whose first `length` tokens are equal."""

    members: tuple[int, ...]
    length: int

    @property
    def saved(self) -> int:
        """Tokens that need not be computed if the prefix is computed once."""
        return (len(self.members) - 1) * self.length

    def worth_sharing(self, sequences: Sequence[Sequence[int]]) -> bool:
        """Whether the tokens saved outweigh the cost of a second forward pass and its mask."""
        return self.saved >= LEAST_SAVED * sum(len(sequences[index]) for index in self.members)


def families(sequences: Sequence[Sequence[int]]) -> list[Family]:
    """Group all sequences into families so that sharing one prefix per family saves many tokens.

    No grouping in which all prefixes have the same length saves more. A prefix is shorter than each of its sequences.
    The members of a family of length 0 share nothing.
    """
    order = sorted(range(len(sequences)), key=lambda index: list(sequences[index]))
    lengths = [
        min(_common(sequences[one], sequences[other]), len(sequences[one]) - 1, len(sequences[other]) - 1)
        for one, other in pairwise(order)
    ]
    # In sorted order a family is a run, and its prefix is the shortest one that two neighbours in the run share. Join
    # neighbours, longest shared prefix first, and compare each run that arises with the best split of it.
    run_of = list(range(len(order)))  # the first place of the run that begins or ends at a place
    end_of = list(range(len(order)))
    best: dict[int, list[Family]] = {place: [Family((index,), 0)] for place, index in enumerate(order)}
    for left in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        start, end = run_of[left], end_of[left + 1]
        whole = Family(tuple(order[start : end + 1]), lengths[left])
        parts = best.pop(start) + best.pop(left + 1)
        best[start] = [whole] if whole.saved >= sum(part.saved for part in parts) else parts
        run_of[end], end_of[start] = start, end
    return [family for start in sorted(best) for family in best[start]]


def can_share(decoder: nn.Module) -> bool:
    """Whether a decoder's prefix can be reused by several continuations.

    It must use the positions and masks it is given (rotary embeddings), and see all earlier tokens in every layer (no
    sliding window, no recurrent state).
    """
    layers = DynamicCache(config=decoder.config).layers
    return hasattr(decoder, "rotary_emb") and bool(layers) and all(type(layer) is DynamicLayer for layer in layers)


class Prefixes:
    """The prefixes of several families, computed in one forward pass; the rest of each sequence is computed later."""

    def __init__(self, decoder: Any, together: Sequence[Family], sequences: Sequence[Sequence[int]]) -> None:
        self.decoder = decoder
        self.cache = DynamicCache(config=decoder.config)
        input_ids = padded([sequences[family.members[0]][: family.length] for family in together], decoder)
        self.hidden = decoder(input_ids=input_ids, past_key_values=self.cache, use_cache=True).last_hidden_state
        self.members = [index for family in together for index in family.members]
        self._rows = [row for row, family in enumerate(together) for _ in family.members]
        self._lengths = [family.length for family in together for _ in family.members]
        self._rests = [sequences[index][length:] for index, length in zip(self.members, self._lengths, strict=True)]

    @property
    def rest_lengths(self) -> list[int]:
        """How many tokens of each member are still to be computed."""
        return [len(rest) for rest in self._rests]

    def states(self, batch: Sequence[int], positions: Sequence[Sequence[int]]) -> Tensor:
        """The final hidden states (R, H) at the positions of some members, which `batch` gives as indices in `members`.

        `positions` has an entry for every sequence; positions count from the start of the whole sequence.
        """
        rest = self._hidden_of_rests(batch)
        prefix_row, rest_row, place, length = (
            torch.tensor(
                [
                    (self._rows[number], row, place, self._lengths[number])
                    for row, number in enumerate(batch)
                    for place in positions[self.members[number]]
                ],
                dtype=torch.long,
            )
            .reshape(-1, 4)
            .unbind(dim=1)
        )
        states = rest[rest_row, (place - length).clamp(min=0)]
        early = place < length
        states[early] = self.hidden[prefix_row[early], place[early]]
        return states

    def _hidden_of_rests(self, batch: Sequence[int]) -> Tensor:
        """The final hidden states (B, S, H) of these members after their prefixes, padded on the right."""
        input_ids = padded([self._rests[number] for number in batch], self.decoder)
        device, width = input_ids.device, input_ids.shape[1]
        rows = torch.tensor([self._rows[number] for number in batch], device=device)
        before = torch.tensor([self._lengths[number] for number in batch], device=device)[:, None]
        longest = max(self._lengths[number] for number in batch)
        cache = DynamicCache(config=self.decoder.config)
        for number, layer in enumerate(self.cache.layers):
            cache.update(layer.keys[rows, :, :longest], layer.values[rows, :, :longest], number)
        steps = torch.arange(width, device=device)
        seen_before = (torch.arange(longest, device=device) < before)[:, None].expand(-1, width, -1)
        seen_here = (steps <= steps[:, None]).expand(len(batch), -1, -1)
        return self.decoder(
            input_ids=input_ids,
            attention_mask=torch.cat([seen_before, seen_here], dim=-1)[:, None],
            position_ids=before + steps,
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state


def padded(sequences: Sequence[Sequence[int]], decoder: nn.Module) -> Tensor:
    """Token ids (B, L) on the decoder's device, padded on the right."""
    rows = [torch.tensor(list(sequence), dtype=torch.long) for sequence in sequences]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True).to(next(decoder.parameters()).device)


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    length = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        length += 1
    return length
