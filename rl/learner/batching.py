"""Which rows go to which rank, in which forward pass: pure arithmetic on lengths.

Every rank gets the same number of micro-batches in each optimizer step, because DeepSpeed's ranks move in step; a rank
that runs out of rows gets empty ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rl.learner.packing import prompt_groups, prompt_lengths
from rl.settings import LearnerSettings, require
from rl.types import Preferences, TrainBatch

Micro = list[int]
"""Rows (or preference pairs) of one forward pass; empty for a rank that only keeps step with the others."""


@dataclass(frozen=True)
class Sizes:
    """What rows cost: tokens of their prompts, tokens of what follows, and the number of each row's prompt.

    Rows of a pass that have the same prompt number share its tokens, and there is no padding. With `shared` False each
    row has a prompt of its own and is padded to the longest of its pass.
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
        """Tokens of one pass over these rows, padding included."""
        if not self.shared:
            return len(rows) * max((self.prompts[row] + self.responses[row] for row in rows), default=0)
        prompts = {self.prompt_of[row]: self.prompts[row] for row in rows}
        return sum(prompts.values()) + sum(self.responses[row] for row in rows)


@dataclass(frozen=True)
class Step:
    """One optimizer step: `micros[rank]` are that rank's micro-batches; the counts are over all ranks."""

    micros: list[list[Micro]]
    tokens: int  # response tokens
    sequences: int  # sequences with at least one response token

    @property
    def rows(self) -> int:
        """Rows (or pairs) of all ranks together."""
        return sum(len(rows) for micros in self.micros for rows in micros)


def plan_update(batch: TrainBatch, settings: LearnerSettings, seed: int, *, shared: bool) -> list[Step]:
    """All optimizer steps of one update: `epochs` passes of `minibatches` steps each, or of as many as there are rows.

    Several minibatches are drawn at random by `seed`, anew for each epoch. Their sizes differ by one row at most where
    the rows do not divide, and each step's loss is a mean over its own rows. `shared`: rows share their prompts. Raises
    ValueError for no rows and for one beyond `micro_batch_tokens`.
    """
    sizes, counts = Sizes.of(batch, shared=shared), batch.response_mask.sum(dim=1)
    steps = []
    for chosen in _minibatches(len(batch), settings, seed, "responses"):
        micros = plan_pass(sizes, chosen.tolist(), settings.ranks, settings.micro_batch_tokens)
        steps.append(Step(micros, tokens=int(counts[chosen].sum()), sequences=int((counts[chosen] > 0).sum())))
    return steps


def plan_pairs(pairs: Preferences, settings: LearnerSettings, seed: int, *, shared: bool) -> list[Step]:
    """All optimizer steps of one update on preference pairs, which stand in the place of rows.

    A response that is in several pairs of a pass is read once in it. Raises ValueError where there is no pair, and for
    one beyond `micro_batch_tokens`.
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
    """These rows as micro-batches for each rank: ranks balanced by tokens, each micro-batch at most `budget` tokens.

    Rows with the same prompt go to the same rank, and into the same micro-batch as far as they fit. Rows without shared
    prompts are sorted by length, so that little is padded.
    """
    groups: dict[int, list[int]] = {}
    for row in sorted(rows, key=lambda row: -(sizes.prompts[row] + sizes.responses[row])):
        groups.setdefault(sizes.prompt_of[row], []).append(row)
    shares = _balanced([(sizes.tokens(group), group) for group in groups.values()], ranks)
    return _in_step([_pack(sizes, share, budget) for share in shares])


def rows_of(pairs: Preferences, micro: Micro) -> list[int]:
    """The rows of the batch that are in these pairs, each once, in rising order."""
    return sorted({*pairs.chosen[micro].tolist(), *pairs.rejected[micro].tolist()})


def _plan_pair_pass(sizes: Sizes, pairs: Preferences, chosen: list[int], ranks: int, budget: int) -> list[list[Micro]]:
    """These pairs as micro-batches for each rank; pairs of one prompt stay together as far as they fit."""
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
    return _in_step(micros)


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
    """Groups with their tokens, shared out to the rank that has the fewest, the largest groups first."""
    loads = [0] * ranks
    shares: list[list[int]] = [[] for _ in range(ranks)]
    for tokens, group in sorted(groups, key=lambda group: -group[0]):
        lightest = loads.index(min(loads))
        loads[lightest] += tokens
        shares[lightest] += group
    return shares


def _pack(sizes: Sizes, rows: Micro, budget: int) -> list[Micro]:
    """Rows in this order, cut into micro-batches whenever one more row would not fit."""
    micros: list[Micro] = []
    for row in rows:
        _check_fits(sizes.tokens([row]), budget, "a sequence")
        if not micros or sizes.tokens([*micros[-1], row]) > budget:
            micros.append([])
        micros[-1].append(row)
    return micros


def _in_step(micros: list[list[Micro]]) -> list[list[Micro]]:
    """As many micro-batches for each rank as for the one with the most."""
    most = max(len(one) for one in micros)
    return [one + [[] for _ in range(most - len(one))] for one in micros]


def _check_fits(tokens: int, budget: int, what: str) -> None:
    require(
        tokens <= budget,
        f"learner.micro_batch_tokens is {budget}, but {what} has {tokens} tokens: raise it to at least that",
    )
