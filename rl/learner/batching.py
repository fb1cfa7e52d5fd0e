"""Which rows go to which rank, in which forward pass: pure arithmetic on lengths.

Every rank gets the same number of micro-batches in each optimizer step, because DeepSpeed's ranks move in step; a rank
that runs out of rows gets empty ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rl.settings import LearnerSettings, require

Micro = list[int]
"""Rows of one forward pass; empty for a rank that only keeps step with the others."""


@dataclass(frozen=True)
class Step:
    """One optimizer step: `micros[rank]` are that rank's micro-batches; the counts are over all ranks."""

    micros: list[list[Micro]]
    tokens: int  # response tokens
    sequences: int  # sequences with at least one response token


def plan_update(lengths: Tensor, responses: Tensor, settings: LearnerSettings, seed: int) -> list[Step]:
    """All optimizer steps of one update: `epochs` passes of `minibatches` steps each.

    `lengths` and `responses` (B,) count each row's tokens and its response tokens. Several minibatches are drawn at
    random by `seed`, anew for each epoch. Raises ValueError for more minibatches than rows and for a row longer than
    `micro_batch_tokens`.
    """
    rows = len(lengths)
    require(
        settings.minibatches <= rows,
        f"learner.minibatches is {settings.minibatches}, but the batch has only {rows} responses",
    )
    generator = torch.Generator().manual_seed(seed)
    steps = []
    for _ in range(settings.epochs):
        order = torch.randperm(rows, generator=generator) if settings.minibatches > 1 else torch.arange(rows)
        for chosen in order.tensor_split(settings.minibatches):
            counts = responses[chosen]
            steps.append(
                Step(
                    micros=plan_pass(lengths, chosen.tolist(), settings.ranks, settings.micro_batch_tokens),
                    tokens=int(counts.sum()),
                    sequences=int((counts > 0).sum()),
                )
            )
    return steps


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
