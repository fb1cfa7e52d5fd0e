"""ArmoRM's training on frozen hidden states (arXiv 2406.12845): ridge regressions, debiasing, and the gate.

Stage 1 reads each objective off the last token's state by ridge regression. Stage 2 trains the gate alone on preference
pairs by Bradley-Terry. Two faults of the released script are not repeated: the gate's softmax runs over the objectives,
not over the chosen/rejected axis, and the gate is trained on the debiased rewards which the finished model uses.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rewards.engines.armorm_model import GatingNetwork

ALPHAS = tuple(10.0**power for power in range(-4, 5))
PUBLISHED_PENALTY = 2.0
"""Where the published search for a penalty ends."""
LARGEST_PENALTY = 2.0**20
"""Where this one does."""


@dataclass(frozen=True)
class GateSchedule:
    """Stage 2 as published."""

    steps: int = 2000
    batch: int = 1024  # pairs
    rate: float = 1e-3  # AdamW without weight decay, cosine to 0
    dropout: float = 0.2


def ridge(states: Tensor, targets: Tensor, alphas: Sequence[float] = ALPHAS, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Regression weights (K, H) float32 of each objective, no intercept, and the strength chosen for each, (K,).

    `states` (N, H), `targets` (N, K) with NaN where a row does not say anything of an objective. The strength alpha of
    |Wx - y|^2 + alpha |W|^2 is the one with the least squared error on a fifth of the rows; the weights are those of
    the other four fifths. Raises ValueError for an objective with fewer than 10 rows.
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


def debias(rewards: Tensor, verbosity: int, bound: float = 0.03, steps: int = 200) -> Tensor:
    """The transform T (K, K) that takes objective `verbosity` out of all the others, for score = gate . (rewards T).

    For every other objective i the smallest penalty p in [0, 2] (a grid of `steps` steps, as published) with
    Spearman(R_i - p R_v, R_v) <= `bound` on `rewards` (N, K); T = I, T[v, i] -= p and T[v, v] = 0, since verbosity by
    itself is no merit. Where 2 is too little, because verbosity's rewards are the smaller ones, the search goes on, see
    `smallest_penalty`.
    """
    transform = torch.eye(rewards.shape[1])
    lengths = rewards[:, verbosity]
    for objective in range(rewards.shape[1]):
        if objective == verbosity:
            continue
        transform[verbosity, objective] = -smallest_penalty(rewards[:, objective], lengths, bound, steps)
    transform[verbosity, verbosity] = 0.0
    return transform


def smallest_penalty(rewards: Tensor, lengths: Tensor, bound: float, steps: int) -> float:
    """The smallest p of a grid with Spearman(R - p L, L) <= `bound` for rewards R and L (N,).

    The grid is `steps` steps of [0, 2], as published, and where that is too little half as many of (2, 4], of (4, 8]
    and so on; as p grows the correlation only falls, so that no smaller one is missed. At most, and where nothing
    suffices, LARGEST_PENALTY.
    """

    def suffices(penalty: float) -> bool:
        return spearman(rewards - penalty * lengths, lengths) <= bound

    for penalty in torch.linspace(0, PUBLISHED_PENALTY, steps + 1).tolist():
        if suffices(penalty):
            return float(penalty)
    top = 2 * PUBLISHED_PENALTY
    while top < LARGEST_PENALTY and not suffices(top):
        top *= 2
    octave = torch.linspace(top / 2, top, steps // 2 + 1).tolist()
    return float(next((penalty for penalty in octave[1:] if suffices(penalty)), top))


def spearman(first: Tensor, second: Tensor) -> float:
    """Spearman's rank correlation of two vectors, equal values sharing their mean rank; 0 where one is constant."""
    one, other = (_ranks(values) - (len(values) - 1) / 2 for values in (first, second))
    norm = float(one.norm() * other.norm())
    return float(one @ other) / norm if norm else 0.0


def _ranks(values: Tensor) -> Tensor:
    _, inverse, counts = torch.unique(values.double(), return_inverse=True, return_counts=True)
    return (counts.cumsum(0) - (counts + 1) / 2)[inverse]


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

    `prompts` (N, H) are the states of the prompts' ends, `chosen` and `rejected` (N, K) the rewards of the better and
    the worse response. The loss is -log sigmoid(gate . (chosen - rejected) T), dropout between the gate's layers.
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
