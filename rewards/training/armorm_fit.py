"""Fit an ArmoRM: embed with a frozen decoder, fit the heads (`rewards.training.armorm_stages`), write the folder.

Embedding takes hours; the states are saved in shards, so that an interrupted run embeds nothing twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModel, PreTrainedModel

from rewards.armorm import assistant_header, last_occurrence
from rewards.chat import ChatTemplate
from rewards.engines.armorm_model import OBJECTIVES, ArmoRewardModel, armorm_config, save_armorm
from rewards.engines.options import DTYPES, Precision, check_dtype, pick_device
from rewards.engines.transformers import at_positions
from rewards.training.armorm_stages import ALPHAS, GateSchedule, Grid, debias, ridge, spearman, train_gate

SHARD = 1024  # conversations per file of states


@dataclass(frozen=True)
class Heads:
    """The heads to fit; the defaults are the published ones.

    `verbosity` names the objective that debiasing removes from the others; None for no debiasing.
    """

    objectives: tuple[str, ...] = OBJECTIVES
    verbosity: str | None = "helpsteer-verbosity"
    bound: float = 0.03  # Spearman correlation with verbosity that a penalty must reach
    grid: Grid = "published"  # penalties to try, see rewards.training.armorm_stages.smallest_penalty
    alphas: tuple[float, ...] = ALPHAS
    gating_hidden_dim: int = 1024
    gating_n_hidden: int = 3
    gating_temperature: float = 10.0
    schedule: GateSchedule = field(default_factory=GateSchedule)

    def __post_init__(self) -> None:
        if len(set(self.objectives)) != len(self.objectives):
            raise ValueError("objectives lists an objective twice")
        if self.grid not in get_args(Grid):
            raise ValueError(f"grid must be published or fine, not {self.grid!r}")
        if self.verbosity is not None and self.verbosity not in self.objectives:
            raise ValueError(f"verbosity {self.verbosity} is not one of objectives")


@dataclass(frozen=True)
class ArmoModel:
    """ArmoRM on a frozen decoder, preferably of a Bradley-Terry reward model."""

    model: str  # folder or hub name of a Llama with any head, with tokenizer and chat template
    heads: Heads = field(default_factory=Heads)
    dtype: Precision = "bf16"  # of the decoder; the heads are float32
    device: str = "auto"  # cpu, cuda, or auto: cuda if available
    max_tokens: int = 4096  # longer conversations are left out and reported
    batch_tokens: int = 16384  # tokens per forward pass, padding included

    def __post_init__(self) -> None:
        check_dtype(self.dtype)
        if not 1 <= self.max_tokens <= self.batch_tokens:
            raise ValueError(f"max_tokens ({self.max_tokens}) must be between 1 and batch_tokens ({self.batch_tokens})")


@dataclass(frozen=True)
class States:
    """Final hidden states (N, H) float32 at the prompt's end (where the gate reads) and at the last token."""

    prompt: Tensor
    last: Tensor


class Embedder:
    """A frozen decoder, read at two positions of whole conversations; it is loaded at the first use."""

    def __init__(self, model: str, template: ChatTemplate, dtype: Precision, device: str, batch_tokens: int) -> None:
        self.path, self.dtype, self.device, self.batch_tokens = model, DTYPES[dtype], pick_device(device), batch_tokens
        self.header = assistant_header(template)
        self._decoder: PreTrainedModel | None = None

    def decoder(self) -> PreTrainedModel:
        """The model's decoder, without its head."""
        if self._decoder is None:
            model = AutoModel.from_pretrained(self.path, dtype=self.dtype, attn_implementation="sdpa")
            self._decoder = model.to(self.device).eval()
        return self._decoder

    def states(self, sequences: Sequence[np.ndarray], folder: Path, report: Callable[[int], None]) -> States:
        """States of all sequences; shards that are already in `folder` are reused. `report` gets the number done."""
        folder.mkdir(parents=True, exist_ok=True)
        shards = []
        for start in range(0, len(sequences), SHARD):
            path = folder / f"{start // SHARD:05}.safetensors"
            if not path.is_file():
                part = path.with_suffix(".part")
                save_file(self._embed([ids.tolist() for ids in sequences[start : start + SHARD]]), part)
                part.rename(path)
            shards.append(load_file(path))
            report(min(start + SHARD, len(sequences)))
        return States(*(torch.cat([shard[name] for shard in shards]) for name in ("prompt", "last")))

    def _embed(self, sequences: list[list[int]]) -> dict[str, Tensor]:
        positions = [(last_occurrence(ids, self.header), len(ids) - 1) for ids in sequences]
        found = at_positions(self.decoder(), sequences, positions, Tensor.float, batch_tokens=self.batch_tokens)
        prompt, last = torch.stack([state.cpu() for state in found]).unbind(dim=1)
        return {"prompt": prompt.contiguous(), "last": last.contiguous()}


def fit(
    embedder: Embedder, heads: Heads, rated: tuple[States, Tensor], chosen: States, rejected: States, seed: int
) -> tuple[ArmoRewardModel, dict[str, float]]:
    """The finished model, and its metrics.

    `rated` are the states of stage 1 with their objectives (N, K), NaN if unknown; `chosen` and `rejected` are the
    pairs of stage 2. Metrics: gate_loss (nats), accuracy (share of the training pairs in the right order); for every
    objective alpha/NAME and spearman/NAME (correlation of the regression with its labels); for every debiased objective
    penalty/NAME (for verbosity) and left/NAME (the Spearman correlation with verbosity that remains). Raises ValueError
    if an objective has fewer than 10 rows.
    """
    states, targets = rated
    weights, alphas = ridge(states.last, targets, heads.alphas, seed)
    better, worse = chosen.last @ weights.T, rejected.last @ weights.T
    transform, debiased = torch.eye(len(heads.objectives)), {}
    if heads.verbosity is not None:
        rewards, verbosity = torch.cat([better, worse]), heads.objectives.index(heads.verbosity)
        transform = debias(rewards, verbosity, heads.bound, heads.grid)
        left = rewards @ transform
        for index, name in enumerate(heads.objectives):
            if index != verbosity:
                debiased[f"penalty/{name}"] = -float(transform[verbosity, index])
                debiased[f"left/{name}"] = spearman(left[:, index], rewards[:, verbosity])
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = ArmoRewardModel(
            armorm_config(
                embedder.decoder().config,
                heads.objectives,
                gating_hidden_dim=heads.gating_hidden_dim,
                gating_n_hidden=heads.gating_n_hidden,
                gating_temperature=heads.gating_temperature,
            )
        )
    model.regression_layer.weight.data.copy_(weights)
    model.reward_transform_matrix.data.copy_(transform)
    loss = train_gate(model.gating, chosen.prompt, better, worse, transform, heads.schedule, seed)
    with torch.inference_mode():
        margins = model.heads(chosen.last, chosen.prompt).score - model.heads(rejected.last, chosen.prompt).score
    metrics = {"gate_loss": loss, "accuracy": float((margins > 0).float().mean()), **debiased}
    for index, name in enumerate(heads.objectives):
        known = ~targets[:, index].isnan()
        metrics[f"alpha/{name}"] = float(alphas[index])
        metrics[f"spearman/{name}"] = spearman(states.last[known] @ weights[index], targets[known, index])
    return model.eval(), metrics


def write(model: ArmoRewardModel, embedder: Embedder, template: ChatTemplate, folder: Path) -> None:
    """Write the decoder that made the embeddings, and the heads, in the published layout."""
    model.model.to(embedder.dtype).load_state_dict(embedder.decoder().state_dict())
    save_armorm(model, template.tokenizer, folder)
