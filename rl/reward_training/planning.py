"""Plan which rows make an optimizer step and which share a forward pass: pure arithmetic on lengths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from rl.learner.batching import Micro, Sizes, Step, plan_pass
from rl.reward_training.settings import Layout, TrainingSettings


def plan_training(
    lengths: Sequence[int], loss_terms: Sequence[int], settings: TrainingSettings, seed: int, layout: Layout
) -> list[Step]:
    """All optimizer steps of a run; the same seed gives the same steps.

    `lengths` are the tokens each row costs, `loss_terms` its terms in the loss. Each epoch shuffles the rows again; a
    step takes rows, at least one, until `batch_sequences` or `batch_tokens` is full.
    """
    generator = torch.Generator().manual_seed(seed)
    steps = []
    for _ in range(settings.epochs):
        order = torch.randperm(len(lengths), generator=generator).tolist()
        for rows in _batches(order, lengths, settings):
            micros = plan_micros(lengths, rows, settings.ranks, settings.micro_batch_tokens, layout)
            steps.append(Step(micros, tokens=sum(loss_terms[row] for row in rows), sequences=len(rows)))
    return steps


def plan_micros(lengths: Sequence[int], rows: list[int], ranks: int, budget: int, layout: Layout) -> list[list[Micro]]:
    """Split these rows into micro-batches, the same number for each rank.

    `balanced`: rows of similar length, rows x longest at most `budget`. `packed`: any rows, total at most `budget`.
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
    """Lay out sequences of ids (L,) for one forward pass: ids, position ids (int64), and each start (row, column).

    `balanced`: (b, longest), right-padded, no position ids. `packed`: (1, sum), with position ids that restart at each
    sequence, by which transformers keeps attention within sequences.
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
