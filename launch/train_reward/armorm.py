"""ArmoRM from two files: rated conversations for the regressions, preference pairs for the gate."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from launch.evaluate.rows import Rows
from launch.nodes import ConfigurationError
from launch.train_reward.data import Data, Lined, read_lined, set_aside
from rewards.chat import ChatTemplate, load_tokenizer
from rewards.training import rows
from rewards.training.armorm_fit import ArmoModel, Embedder, fit, write
from rewards.training.examples import Pair, conversation_ids, pair_ids

FEWEST = 10  # rows with an objective, for its regression


@dataclass
class ArmoData:
    """Both files, read."""

    template: ChatTemplate
    rated: Data
    pairs: Data

    @property
    def files(self) -> dict[str, Rows[Lined]]:
        """What was read, under the name that its rejects are written to."""
        return {"rejects": self.rated.rows, "rejects_pairs": self.pairs.rows}

    @property
    def used(self) -> int:
        """Conversations and pairs."""
        return self.rated.used + self.pairs.used

    def notes(self) -> Iterator[str]:
        """What a person should know of both files."""
        yield from self.rated.notes()
        yield from self.pairs.notes()


def read_armorm(recipe: ArmoModel, rated: Path, pairs: Path) -> ArmoData:
    """Both files as token sequences. Raises ConfigurationError where nothing can be learned from one."""
    names = recipe.heads.objectives
    template = ChatTemplate(load_tokenizer(recipe.model))
    known = rows.OBJECTIVE_FIELDS | frozenset(names)
    first = read_lined(rated, lambda record: rows.parse_objectives(record, names), known)
    second = read_lined(pairs, rows.parse_preference, rows.PAIR_FIELDS)
    ids = set_aside(first, lambda some: conversation_ids(template, [one.turns for one in some]), len, recipe.max_tokens)
    both = set_aside(second, lambda some: pair_ids(template, some), len, recipe.max_tokens)
    for index, name in enumerate(names):
        count = sum(not math.isnan(one.row.values[index]) for one in first.rows)
        if count < FEWEST:
            raise ConfigurationError(f"data {rated}: objective {name} is known of {count} rows, {FEWEST} are needed")
    if not both:
        raise ConfigurationError(f"pairs {pairs}: no pair is left: see recipe.max_tokens")
    return ArmoData(template, Data(first, ids), Data(second, both))


def train_armorm(
    recipe: ArmoModel, found: ArmoData, folder: Path, seed: int, report: Callable[[str], None]
) -> dict[str, Any]:
    """Embed, fit the heads, write the model. Returns the summary, with every objective's regression in it."""
    started = time.perf_counter()
    embedder = Embedder(recipe.model, found.template, recipe.dtype, recipe.device, recipe.batch_tokens)
    pairs: list[Pair] = found.pairs.items
    sides = {
        "rated": found.rated.items,
        "chosen": [pair.chosen for pair in pairs],
        "rejected": [pair.rejected for pair in pairs],
    }
    states = {}
    for name, sequences in sides.items():
        total = len(sequences)

        def tell(done: int, name: str = name, total: int = total) -> None:
            report(f"embedding, {name}: {done}/{total}, {time.perf_counter() - started:.0f} s")

        states[name] = embedder.states(sequences, folder / "states" / name, tell)
    targets = torch.tensor([one.row.values for one in found.rated.rows.rows])
    model, metrics = fit(embedder, recipe.heads, (states["rated"], targets), states["chosen"], states["rejected"], seed)
    write(model, embedder, found.template, folder / "model")
    shutil.rmtree(folder / "states")
    for name in recipe.heads.objectives:
        report(f"{name}: alpha {metrics[f'alpha/{name}']:g}, Spearman {metrics[f'spearman/{name}']:.3f}")
    report(f"gate: loss {metrics['gate_loss']:.4f}, {metrics['accuracy']:.1%} of the training pairs in order")
    return {**metrics, "seconds": round(time.perf_counter() - started, 1)}
