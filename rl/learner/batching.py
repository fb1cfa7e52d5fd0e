"""Which rows go to which rank, in which forward pass: pure arithmetic on lengths.

Every rank gets the same number of micro-batches in each optimizer step, because DeepSpeed's ranks move in step; a rank
that runs out of rows gets empty ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rl.settings import LearnerSettings, require
from rl.types import Preferences

Micro = list[int]
"""Rows of one forward pass; empty for a rank that only keeps step with the others."""


@dataclass(frozen=True)
class Step:
    """One optimizer step: `micros[rank]` are that rank's micro-batches; the counts are over all ranks."""

    micros: list[list[Micro]]
    tokens: int  # response tokens
    sequences: int  # sequences with at least one response token

    @property
    def rows(self) -> int:
        """Rows of all ranks together."""
        return sum(len(rows) for micros in self.micros for rows in micros)


def plan_update(lengths: Tensor, responses: Tensor, settings: LearnerSettings, seed: int) -> list[Step]:
    """All optimizer steps of one update: `epochs` passes of `minibatches` steps each, or of as many as there are rows.

    `lengths` and `responses` (B,) count each row's tokens and its response tokens. Several minibatches are drawn at
    random by `seed`, anew for each epoch. Their sizes differ by one row at most where the rows do not divide, and each
    step's loss is a mean over its own rows. Raises ValueError for no rows and for one beyond `micro_batch_tokens`.
    """
    rows = len(lengths)
    require(rows > 0, "there are no responses to learn from")
    minibatches = min(settings.minibatches, rows)
    generator = torch.Generator().manual_seed(seed)
    steps = []
    for _ in range(settings.epochs):
        order = torch.randperm(rows, generator=generator) if minibatches > 1 else torch.arange(rows)
        for chosen in order.tensor_split(minibatches):
            counts = responses[chosen]
            steps.append(
                Step(
                    micros=plan_pass(lengths, chosen.tolist(), settings.ranks, settings.micro_batch_tokens),
                    tokens=int(counts.sum()),
                    sequences=int((counts > 0).sum()),
                )
            )
    return steps


def plan_pairs(pairs: Preferences, settings: LearnerSettings, seed: int) -> list[Step]:
    """All optimizer steps of one update on preference pairs, whose rows are pairs.

    A pair costs twice its longer sequence: both go through the model at once. Raises ValueError where there is no pair,
    and for a pair beyond `micro_batch_tokens`.
    """
    count = len(pairs.chosen)
    require(count == len(pairs.rejected), f"{count} chosen responses stand beside {len(pairs.rejected)} rejected ones")
    require(count > 0, "there are no preference pairs to learn from")
    sides = (pairs.chosen, pairs.rejected)
    longest = torch.stack([side.attention_mask.sum(dim=1) for side in sides]).amax(dim=0)
    tokens = torch.stack([side.response_mask.sum(dim=1) for side in sides]).sum(dim=0)
    require(
        2 * int(longest.max()) <= settings.micro_batch_tokens,
        f"learner.micro_batch_tokens is {settings.micro_batch_tokens}, but a pair of sequences has "
        f"{2 * int(longest.max())} tokens: raise it to at least that",
    )
    return plan_update(2 * longest, tokens, settings, seed)


def plan_pass(lengths: Tensor, rows: list[int], ranks: int, budget: int) -> list[list[Micro]]:
    """These rows as micro-batches for each rank: ranks balanced by tokens, each micro-batch at most `budget` tokens.

    Tokens include padding: rows x longest row. Rows of like length share a micro-batch.
    """
    loads = [0] * ranks
    shares: list[Micro] = [[] for _ in range(ranks)]
    for row in sorted(rows, key=lambda row: -int(lengths[row])):
        lightest = loads.index(min(loads))
        loads[lightest] += int(lengths[row])
        shares[lightest].append(row)
    micros = [_pack(lengths, share, budget) for share in shares]
    longest = max(len(one) for one in micros)
    return [one + [[] for _ in range(longest - len(one))] for one in micros]


def _pack(lengths: Tensor, rows: Micro, budget: int) -> list[Micro]:
    """Rows, longest first, cut into micro-batches whenever one more row would not fit."""
    micros: list[Micro] = []
    for row in rows:
        length = int(lengths[row])
        require(
            length <= budget,
            f"learner.micro_batch_tokens is {budget}, but a sequence has {length} tokens: raise it to at least that",
        )
        if not micros or (len(micros[-1]) + 1) * int(lengths[micros[-1][0]]) > budget:
            micros.append([])
        micros[-1].append(row)
    return micros
