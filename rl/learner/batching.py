"""Decide which rows go to which rank, and in which forward pass, from their lengths alone.

In each optimizer step, every rank gets the same number of micro-batches, because DeepSpeed's ranks run in lockstep. A
rank that runs out of rows gets empty micro-batches.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rl.learner.packing import prompt_groups, prompt_lengths
from rl.settings import LearnerSettings, require
from rl.types import Preferences, TrainBatch

Micro = list[int]
"""Rows (or preference pairs) of one forward pass; empty if the rank only has to stay in lockstep with the others."""


@dataclass(frozen=True)
class Sizes:
    """The cost of each row: the tokens in its prompt, the tokens after it, and the number of its prompt.

    If `shared`, rows of a pass with the same prompt number share the prompt's tokens, and there is no padding.
    Otherwise every row has its own prompt and is padded to the longest row of its pass.
    """

    prompts: list[int]
    responses: list[int]
    prompt_of: list[int]
    shared: bool

    @classmethod
    def of(cls, batch: TrainBatch, *, shared: bool) -> Sizes:
        """The sizes of a batch's rows."""
        prompts = prompt_lengths(batch)
        responses = batch.attention_mask.sum(dim=1) - prompts
        numbers = prompt_groups(batch) if shared else torch.arange(len(batch))
        return cls(prompts.tolist(), responses.tolist(), numbers.tolist(), shared)

    def tokens(self, rows: Micro) -> int:
        """The tokens in one pass over these rows, including padding."""
        if not self.shared:
            return len(rows) * max((self.prompts[row] + self.responses[row] for row in rows), default=0)
        prompts = {self.prompt_of[row]: self.prompts[row] for row in rows}
        return sum(prompts.values()) + sum(self.responses[row] for row in rows)


@dataclass(frozen=True)
class Step:
    """One optimizer step. `micros[rank]` holds that rank's micro-batches; the counts are totals over all ranks."""

    micros: list[list[Micro]]
    tokens: int  # response tokens
    sequences: int  # sequences with at least one response token

    @property
    def rows(self) -> int:
        """The total number of rows (or pairs) on all ranks."""
        return sum(len(rows) for micros in self.micros for rows in micros)


def plan_update(batch: TrainBatch, settings: LearnerSettings, seed: int, *, shared: bool) -> list[Step]:
    """All optimizer steps of one update: `epochs` passes of `minibatches` steps each, but never more steps than rows.

    With several minibatches, each epoch splits the rows at random, determined by `seed`. Minibatches differ in size by
    at most one row, and each step's loss is a mean over its own rows. `shared`: rows share their prompts. Raises
    ValueError if there are no rows, or if a row is longer than `micro_batch_tokens`.
    """
    sizes, counts = Sizes.of(batch, shared=shared), batch.response_mask.sum(dim=1)
    steps = []
    for chosen in _minibatches(len(batch), settings, seed, "responses"):
        micros = plan_pass(sizes, chosen.tolist(), settings.ranks, settings.micro_batch_tokens)
        steps.append(Step(micros, tokens=int(counts[chosen].sum()), sequences=int((counts[chosen] > 0).sum())))
    return steps


def plan_pairs(pairs: Preferences, settings: LearnerSettings, seed: int, *, shared: bool) -> list[Step]:
    """All optimizer steps of one update on preference pairs; here the numbers in `Step.micros` are pairs, not rows.

    A response that is in several pairs of a pass is computed once. Raises ValueError if there are no pairs, or if a
    pair is longer than `micro_batch_tokens`.
    """
    require(
        len(pairs.chosen) == len(pairs.rejected),
        f"{len(pairs.chosen)} chosen responses do not match {len(pairs.rejected)} rejected ones",
    )
    sizes, counts = Sizes.of(pairs.batch, shared=shared), pairs.batch.response_mask.sum(dim=1)
    steps = []
    for chosen in _minibatches(len(pairs), settings, seed, "preference pairs"):
        micros = _plan_pair_pass(sizes, pairs, chosen.tolist(), settings.ranks, settings.micro_batch_tokens)
        of_both = counts[pairs.chosen[chosen]] + counts[pairs.rejected[chosen]]
        steps.append(Step(micros, tokens=int(of_both.sum()), sequences=2 * len(chosen)))
    return steps


def plan_pass(sizes: Sizes, rows: list[int], ranks: int, budget: int) -> list[list[Micro]]:
    """Split these rows into micro-batches for each rank: balanced by tokens, at most `budget` tokens per micro-batch.

    Rows with the same prompt go to the same rank, and to the same micro-batch if they fit. Rows that do not share
    prompts are sorted by length to reduce padding.
    """
    groups: dict[int, list[int]] = {}
    for row in sorted(rows, key=lambda row: -(sizes.prompts[row] + sizes.responses[row])):
        groups.setdefault(sizes.prompt_of[row], []).append(row)
    shares = _balanced([(sizes.tokens(group), group) for group in groups.values()], ranks)
    return _pad_to_most([_pack(sizes, share, budget) for share in shares])


def rows_of(pairs: Preferences, micro: Micro) -> list[int]:
    """The batch's rows that are in these pairs, without repeats, in ascending order."""
    return sorted({*pairs.chosen[micro].tolist(), *pairs.rejected[micro].tolist()})


def _plan_pair_pass(sizes: Sizes, pairs: Preferences, chosen: list[int], ranks: int, budget: int) -> list[list[Micro]]:
    """Split these pairs into micro-batches for each rank. Pairs with the same prompt stay together if they fit."""
    sides = torch.stack([pairs.chosen, pairs.rejected], dim=1).tolist()
    groups: dict[int, list[int]] = {}
    for pair in chosen:
        groups.setdefault(sizes.prompt_of[sides[pair][0]], []).append(pair)

    def tokens(members: list[int]) -> int:
        return sizes.tokens(list({row for pair in members for row in sides[pair]}))

    for pair in chosen:
        _check_fits(tokens([pair]), budget, "a pair of sequences")
    ordered = sorted(groups.values(), key=lambda group: -tokens(group))
    micros = []
    for share in _balanced([(tokens(group), group) for group in ordered], ranks):
        packs: list[Micro] = []
        for pair in share:
            if not packs or tokens([*packs[-1], pair]) > budget:
                packs.append([])
            packs[-1].append(pair)
        micros.append(packs)
    return _pad_to_most(micros)


def _minibatches(rows: int, settings: LearnerSettings, seed: int, what: str) -> list[Tensor]:
    """The rows (m,) of each optimizer step."""
    require(rows > 0, f"there are no {what} to learn from")
    minibatches = min(settings.minibatches, rows)
    generator = torch.Generator().manual_seed(seed)
    chosen: list[Tensor] = []
    for _ in range(settings.epochs):
        order = torch.randperm(rows, generator=generator) if minibatches > 1 else torch.arange(rows)
        chosen += order.tensor_split(minibatches)
    return chosen


def _balanced(groups: list[tuple[int, list[int]]], ranks: int) -> list[list[int]]:
    """Distribute (tokens, group) pairs over the ranks, largest first, each to the rank with the fewest tokens."""
    loads = [0] * ranks
    shares: list[list[int]] = [[] for _ in range(ranks)]
    for tokens, group in sorted(groups, key=lambda group: -group[0]):
        lightest = loads.index(min(loads))
        loads[lightest] += tokens
        shares[lightest] += group
    return shares


def _pack(sizes: Sizes, rows: Micro, budget: int) -> list[Micro]:
    """Cut the rows, in this order, into micro-batches. A new one starts when the next row would not fit."""
    micros: list[Micro] = []
    for row in rows:
        _check_fits(sizes.tokens([row]), budget, "a sequence")
        if not micros or sizes.tokens([*micros[-1], row]) > budget:
            micros.append([])
        micros[-1].append(row)
    return micros


def _pad_to_most(micros: list[list[Micro]]) -> list[list[Micro]]:
    """Add empty micro-batches until every rank has as many as the rank with the most."""
    most = max(len(one) for one in micros)
    return [one + [[] for _ in range(most - len(one))] for one in micros]


def _check_fits(tokens: int, budget: int, what: str) -> None:
    require(
        tokens <= budget,
        f"learner.micro_batch_tokens is {budget}, but {what} has {tokens} tokens: raise it to at least that",
    )
