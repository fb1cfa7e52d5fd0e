"""Which rows make an optimizer step, and which of them share a forward pass: pure arithmetic on lengths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from rl.learner.batching import Micro, Sizes, Step, plan_pass
from rl.reward_training.settings import Layout, TrainingSettings


def plan_training(
    lengths: Sequence[int], counted: Sequence[int], settings: TrainingSettings, seed: int, layout: Layout
) -> list[Step]:
    """All optimizer steps of a run, the same ones for the same seed.

    `lengths` are the tokens that each row costs, `counted` its terms in the loss. Each epoch goes through all rows in
    an order of its own; a step takes rows until `batch_sequences` or `batch_tokens` is full, at least one.
    """
    generator = torch.Generator().manual_seed(seed)
    steps = []
    for _ in range(settings.epochs):
        order = torch.randperm(len(lengths), generator=generator).tolist()
        for rows in _batches(order, lengths, settings):
            micros = plan_micros(lengths, rows, settings.ranks, settings.micro_batch_tokens, layout)
            steps.append(Step(micros, tokens=sum(counted[row] for row in rows), sequences=len(rows)))
    return steps


def plan_micros(lengths: Sequence[int], rows: list[int], ranks: int, budget: int, layout: Layout) -> list[list[Micro]]:
    """These rows as micro-batches for each rank, as many for each.

    `balanced`: rows of like length, rows x longest at most `budget`. `packed`: any rows, their sum at most `budget`.
    """
    if layout == "balanced":
        alone = Sizes([0] * len(lengths), list(lengths), list(range(len(lengths))), shared=False)
        return plan_pass(alone, rows, ranks, budget)
    loads: list[int] = []
    blocks: list[Micro] = []
    for row in sorted(rows, key=lambda row: -lengths[row]):
        place = next((index for index, load in enumerate(loads) if load + lengths[row] <= budget), len(loads))
        if place == len(loads):
            loads.append(0)
            blocks.append([])
        loads[place] += lengths[row]
        blocks[place].append(row)
    shares: list[list[Micro]] = [blocks[rank::ranks] for rank in range(ranks)]
    longest = max(len(share) for share in shares)
    return [share + [[] for _ in range(longest - len(share))] for share in shares]


def lay_out(sequences: Sequence[Any], layout: Layout) -> tuple[Tensor, Tensor | None, list[tuple[int, int]]]:
    """Sequences of ids (L,) in one forward pass: ids and position ids, int64, and where (row, column) each begins.

    `balanced`: (b, longest), right-padded, no position ids. `packed`: (1, sum), position ids that begin anew with each
    sequence, by which transformers keeps attention inside it.
    """
    rows = [torch.as_tensor(ids, dtype=torch.long) for ids in sequences]
    if layout == "balanced":
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), None, [(row, 0) for row in range(len(rows))]
    starts, start = [], 0
    for ids in rows:
        starts.append((0, start))
        start += len(ids)
    positions = torch.cat([torch.arange(len(ids)) for ids in rows])
    return torch.cat(rows)[None], positions[None], starts


def _batches(order: list[int], lengths: Sequence[int], settings: TrainingSettings) -> Iterator[list[int]]:
    batch: list[int] = []
    tokens = 0
    for row in order:
        full = (
            len(batch) == settings.batch_sequences
            if settings.batch_tokens is None
            else tokens + lengths[row] > settings.batch_tokens
        )
        if batch and full:
            yield batch
            batch, tokens = [], 0
        batch.append(row)
        tokens += lengths[row]
    if batch:
        yield batch
