"""Find out whether a model can compute a prompt once for all its responses, by comparing both ways on a probe batch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rl.learner.setup import LearnerSetup
from rl.types import TrainBatch

_LIMITS = {"fp32": 1e-4, "bf16": 5e-2}
"""The largest mean difference, in nats or in the value's unit, that rounding can explain."""


def why_not_shared(read: Callable[[TrainBatch, bool], Tensor], vocabulary: int, setup: LearnerSetup) -> str | None:
    """None if `read(rows, shared)` returns the same for both values of `shared`, otherwise the reason in words.

    The results differ if a model does not use transformers' common attention interface, if it keeps state other than
    keys and values, or if it changes the logits afterwards.
    """
    rows = probe(vocabulary, setup.device)
    plain = read(rows, False)
    try:
        shared = read(rows, True)
    except (AttributeError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        return f"the model does not read packed rows ({type(error).__name__}: {str(error).splitlines()[0]})"
    apart = float((plain - shared).abs()[rows.response_mask].mean())
    if not apart <= _LIMITS[setup.policy.dtype]:
        return f"packed rows change this model's results (by {apart:.2g} on average)"
    return None


def probe(vocabulary: int, device: str) -> TrainBatch:
    """Five random rows with two prompts and responses of different lengths."""
    generator = torch.Generator().manual_seed(0)
    prompts = [torch.randint(vocabulary, (length,), generator=generator) for length in (5, 8)]
    sizes = [(0, 1), (0, 6), (0, 4), (1, 3), (1, 5)]
    width = max(len(prompts[prompt]) + size for prompt, size in sizes)
    ids = torch.zeros(len(sizes), width, dtype=torch.int64)
    attention, response = torch.zeros(2, len(sizes), width, dtype=torch.bool)
    for row, (prompt, size) in enumerate(sizes):
        start, end = len(prompts[prompt]), len(prompts[prompt]) + size
        ids[row, :start] = prompts[prompt]
        ids[row, start:end] = torch.randint(vocabulary, (size,), generator=generator)
        attention[row, :end] = True
        response[row, start:end] = True
    zeros = torch.zeros(len(sizes), width)
    return TrainBatch(*(tensor.to(device) for tensor in (ids, attention, response, zeros)))
