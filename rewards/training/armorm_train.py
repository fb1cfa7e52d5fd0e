"""Train an ArmoRM from two files: rated conversations for the regressions, preference pairs for the gate."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rewards.builder import ConfigurationError
from rewards.chat import ChatTemplate, load_tokenizer
from rewards.files.rows import Rows
from rewards.training import row_formats
from rewards.training.armorm_fit import ArmoModel, Embedder, Heads, fit, write
from rewards.training.armorm_stages import PUBLISHED_PENALTY
from rewards.training.examples import Pair, conversation_ids, pair_ids
from rewards.training.token_rows import Data, TrainingRow, read_training_rows, set_aside

FEWEST = 10  # rows needed for the regression of an objective


@dataclass
class ArmoData:
    """The rows of both files as token sequences."""

    template: ChatTemplate
    rated: Data
    pairs: Data

    @property
    def files(self) -> dict[str, Rows[TrainingRow]]:
        """The files that were read, by the name under which their rejects are written."""
        return {"rejects": self.rated.rows, "rejects_pairs": self.pairs.rows}

    @property
    def sides(self) -> dict[str, list[np.ndarray]]:
        """The token sequences (L,) to embed, by name."""
        pairs: list[Pair] = self.pairs.items
        return {
            "rated": self.rated.items,
            "chosen": [pair.chosen for pair in pairs],
            "rejected": [pair.rejected for pair in pairs],
        }

    @property
    def used(self) -> int:
        """The number of conversations and pairs to learn from."""
        return self.rated.used + self.pairs.used

    def notes(self) -> Iterator[str]:
        """Notes on both files for the user."""
        yield from self.rated.notes()
        yield from self.pairs.notes()


def read_armorm(recipe: ArmoModel, rated: Path, pairs: Path) -> ArmoData:
    """Read both files as token sequences. Raises ConfigurationError if nothing can be learned from one of them."""
    names = recipe.heads.objectives
    template = ChatTemplate(load_tokenizer(recipe.model))
    known = row_formats.OBJECTIVE_FIELDS | frozenset(names)
    first = read_training_rows(rated, lambda record: row_formats.parse_objectives(record, names), known)
    second = read_training_rows(pairs, row_formats.parse_preference, row_formats.PAIR_FIELDS)
    ids = set_aside(first, lambda some: conversation_ids(template, [one.turns for one in some]), len, recipe.max_tokens)
    both = set_aside(second, lambda some: pair_ids(template, some), len, recipe.max_tokens)
    for index, name in enumerate(names):
        count = sum(not math.isnan(one.row.values[index]) for one in first.rows)
        if count < FEWEST:
            raise ConfigurationError(f"data {rated}: {count} rows have objective {name}, {FEWEST} are needed")
    if not both:
        raise ConfigurationError(f"pairs {pairs}: no pair is left: see recipe.max_tokens")
    return ArmoData(template, Data(first, ids), Data(second, both))


def train_armorm(
    recipe: ArmoModel, found: ArmoData, folder: Path, kept: Path, seed: int, report: Callable[[str], None]
) -> dict[str, Any]:
    """Embed, fit the heads, write the model. Returns a summary that includes every objective's regression.

    The states are saved in `kept`, for fitting other heads later; those that are already there are reused.
    """
    started = time.perf_counter()
    embedder = Embedder(recipe.model, found.template, recipe.dtype, recipe.device, recipe.batch_tokens)
    if any(kept.glob("*/*.safetensors")):
        report(f"the embedded states in {kept} are reused; the heads are fitted again")
    states = {}
    for name, sequences in found.sides.items():
        total = len(sequences)

        def report_progress(done: int, name: str = name, total: int = total) -> None:
            report(f"embedding, {name}: {done}/{total}, {time.perf_counter() - started:.0f} s")

        states[name] = embedder.states(sequences, kept / name, report_progress)
    targets = torch.tensor([one.row.values for one in found.rated.rows.rows])
    model, metrics = fit(embedder, recipe.heads, (states["rated"], targets), states["chosen"], states["rejected"], seed)
    write(model, embedder, found.template, folder / "model")
    for name in recipe.heads.objectives:
        report(f"{name}: alpha {metrics[f'alpha/{name}']:g}, Spearman {metrics[f'spearman/{name}']:.3f}")
    for warning in warnings_of(recipe.heads, metrics):
        report(f"warning: {warning}")
    report(f"gate: loss {metrics['gate_loss']:.4f}, {metrics['accuracy']:.1%} of the training pairs in order")
    size = sum(path.stat().st_size for path in kept.glob("*/*.safetensors"))
    report(f"the embedded states remain in {kept} ({size / 1e6:.0f} MB): states={kept} fits other heads to them")
    return {**metrics, "seconds": round(time.perf_counter() - started, 1)}


def warnings_of(heads: Heads, metrics: Mapping[str, float]) -> Iterator[str]:
    """Warnings about the result of debiasing, one per line; `metrics` are those of `fit`."""
    more = "recipe.heads.grid=fine or " if heads.grid == "published" else ""
    for name in heads.objectives:
        penalty, left = metrics.get(f"penalty/{name}", 0.0), metrics.get(f"left/{name}", 0.0)
        if left > heads.bound:
            yield (
                f"{name} still correlates with {heads.verbosity} (Spearman {left:.3f}) at a penalty of {penalty:g}: "
                f"set {more}recipe.heads.verbosity=null, or leave {name} out of recipe.heads.objectives"
            )
        elif penalty > PUBLISHED_PENALTY:
            yield (
                f"{name} needs a penalty of {penalty:g} for {heads.verbosity}, beyond the published grid, which ends "
                f"at {PUBLISHED_PENALTY:g}: put the labels of both on one scale, or set recipe.heads.verbosity=null"
            )
