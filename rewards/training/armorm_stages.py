"""The two stages of ArmoRM's training on frozen hidden states (arXiv 2406.12845), with debiasing in between.

Stage 1 predicts each objective from the last token's state by ridge regression. Stage 2 trains only the gate, on
preference pairs with the Bradley-Terry loss. Two faults of the released script are corrected: the gate's softmax is
over the objectives, not over the chosen/rejected axis, and the gate is trained on the debiased rewards that the
finished model uses.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from rewards.engines.armorm_model import GatingNetwork
from rewards.evaluation import ranking

ALPHAS = tuple(10.0**power for power in range(-4, 5))
Grid = Literal["published", "fine"]
"""Which penalties for verbosity to try; see `smallest_penalty`."""
PUBLISHED_GRID = (0, 0.01, 0.025, 0.05, 0.075, 0.1, 0.125, *(step / 20 for step in range(3, 20)))
"""The penalties that the released script tries, up to 0.95."""
PUBLISHED_PENALTY = 1.0
"""The penalty that it uses if none of them suffices."""
FINE_GRID = tuple(step / 100 for step in range(201))
LARGEST_PENALTY = 2.0**20
"""The upper limit of the search with `fine`."""


@dataclass(frozen=True)
class GateSchedule:
    """The settings of stage 2; the defaults are the published ones."""

    steps: int = 2000
    batch: int = 1024  # pairs
    rate: float = 1e-3  # AdamW without weight decay, cosine to 0
    dropout: float = 0.2


def ridge(states: Tensor, targets: Tensor, alphas: Sequence[float] = ALPHAS, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Regression weights (K, H), float32, without intercept, and the regularisation strength of each objective, (K,).

    `states` (N, H), `targets` (N, K) with NaN if a row has no value for an objective. The strength alpha in
    |Wx - y|^2 + alpha |W|^2 is the one with the smallest squared error on a fifth of the rows; the weights are fitted
    on the other four fifths. Raises ValueError for an objective with fewer than 10 rows.
    """
    x, y = states.double(), targets.double()
    weights, chosen = [], []
    for objective in range(y.shape[1]):
        rows = torch.nonzero(~y[:, objective].isnan()).flatten()
        if len(rows) < 10:
            raise ValueError(f"objective {objective} has {len(rows)} labelled rows: ridge regression needs at least 10")
        rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))]
        tested, fitted = rows[: len(rows) // 5], rows[len(rows) // 5 :]
        inputs, wanted = x[fitted], y[fitted, objective]
        gram, product = inputs.T @ inputs, inputs.T @ wanted
        eye = torch.eye(len(gram), dtype=gram.dtype)
        solutions = [torch.linalg.solve(gram + alpha * eye, product) for alpha in alphas]
        errors = [float(((x[tested] @ found - y[tested, objective]) ** 2).mean()) for found in solutions]
        best = errors.index(min(errors))
        weights.append(solutions[best])
        chosen.append(alphas[best])
    return torch.stack(weights).float(), torch.tensor(chosen)


def debias(rewards: Tensor, verbosity: int, bound: float = 0.03, grid: Grid = "published") -> Tensor:
    """The transform T (K, K) that removes objective `verbosity` from all others, for score = gate . (rewards T).

    For every other objective i, p is `smallest_penalty` on `rewards` (N, K); T = I, T[v, i] -= p and T[v, v] = 0, since
    verbosity itself should not be rewarded.
    """
    transform = torch.eye(rewards.shape[1])
    lengths = rewards[:, verbosity]
    for objective in range(rewards.shape[1]):
        if objective == verbosity:
            continue
        transform[verbosity, objective] = -smallest_penalty(rewards[:, objective], lengths, bound, grid)
    transform[verbosity, verbosity] = 0.0
    return transform


def smallest_penalty(rewards: Tensor, lengths: Tensor, bound: float, grid: Grid) -> float:
    """The smallest p of a grid with Spearman(R - p L, L) <= `bound` for rewards R and L (N,).

    `published`: the grid of ArmoRM's released script, PUBLISHED_GRID, or PUBLISHED_PENALTY if none of it suffices,
    whatever correlation remains. `fine`: [0, 2] in steps of 0.01, and beyond that each doubled interval, (2, 4], (4, 8]
    and so on, in 100 steps, up to LARGEST_PENALTY. The correlation only falls as p grows, so doubling does not skip a
    smaller penalty.
    """

    def suffices(penalty: float) -> bool:
        return spearman(rewards - penalty * lengths, lengths) <= bound

    tried = PUBLISHED_GRID if grid == "published" else FINE_GRID
    first = next((penalty for penalty in tried if suffices(penalty)), None)
    if first is not None:
        return float(first)
    if grid == "published":
        return PUBLISHED_PENALTY
    top = 2 * FINE_GRID[-1]
    while top < LARGEST_PENALTY and not suffices(top):
        top *= 2
    octave = torch.linspace(top / 2, top, 101).tolist()
    return float(next((penalty for penalty in octave[1:] if suffices(penalty)), top))


def spearman(first: Tensor, second: Tensor) -> float:
    """Spearman's correlation of two vectors (see `rewards.evaluation.ranking`); 0 if one is constant."""
    return ranking.spearman(*(values.detach().double().cpu().numpy() for values in (first, second))) or 0.0


def train_gate(
    gating: GatingNetwork,
    prompts: Tensor,
    chosen: Tensor,
    rejected: Tensor,
    transform: Tensor,
    schedule: GateSchedule,
    seed: int = 0,
) -> float:
    """Train the gate in place; returns the mean Bradley-Terry loss, in nats, of the last tenth of the steps.

    `prompts` (N, H) are the states at the prompts' ends, `chosen` and `rejected` (N, K) the rewards of the better and
    the worse response. The loss is -log sigmoid(gate . (chosen - rejected) T), with dropout between the gate's layers.
    """
    generator = torch.Generator().manual_seed(seed)
    margins = (chosen - rejected).float() @ transform
    optimizer = torch.optim.AdamW(gating.parameters(), lr=schedule.rate, weight_decay=0.0)
    losses = []
    with torch.enable_grad():
        for step in range(schedule.steps):
            optimizer.param_groups[0]["lr"] = schedule.rate * (1 + math.cos(math.pi * step / schedule.steps)) / 2
            rows = torch.randint(len(margins), (schedule.batch,), generator=generator)
            gate = _gate_with_dropout(gating, prompts[rows].float(), schedule.dropout, generator)
            loss = -nn.functional.logsigmoid((gate * margins[rows]).sum(dim=-1)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    tail = losses[-max(len(losses) // 10, 1) :]
    return sum(tail) / len(tail)


def _gate_with_dropout(gating: GatingNetwork, states: Tensor, rate: float, generator: torch.Generator) -> Tensor:
    for layer in gating.layers[:-1]:
        states = torch.relu(layer(states))
        kept = torch.rand(states.shape, generator=generator) >= rate
        states = states * kept / (1 - rate)
    return torch.softmax(gating.layers[-1](states) / gating.temperature, dim=-1) * gating.logit_scale[0]
