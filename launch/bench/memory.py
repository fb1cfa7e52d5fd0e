"""Peak memory and floating-point operations of scoring, for `launch.bench.rewards`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from launch.bench.subjects import LARGE_VOCABULARY, Options, make_groups, make_model
from rewards.engines.transformers import TransformersRunner
from rewards.process import ProcessReward
from rewards.types import Group


def memory_line(folder: Path, options: Options) -> str:
    """The peak memory of scoring with a vocabulary of 128k, compared with a vocabulary of 2k."""
    small = peak_bytes(make_model(folder / "small", options, 2048), options)
    large = peak_bytes(make_model(folder / "large", options, LARGE_VOCABULARY), options)
    ratio = (large[0] + large[1]) / (large[0] + small[1])
    return (
        f"memory, vocabulary of 128k: weights {large[0] / 2**20:.0f} MiB, scoring adds {large[1] / 2**20:.0f} MiB "
        f"(vocabulary of 2k: {small[1] / 2**20:.0f}); {ratio:.2f} times its weights plus the activations at 2k"
    )


def peak_bytes(model: str, options: Options) -> tuple[int, int]:
    """The bytes of the weights, and the peak of the additional bytes when scoring 64 solutions."""
    reward = ProcessReward(model, dtype=options.dtype, batch_tokens=options.batch_tokens or None)
    weights = sum(tensor.numel() * tensor.element_size() for tensor in decoder_of(reward).parameters())
    groups = make_groups(64)
    with torch.profiler.profile(profile_memory=True) as profile:
        reward.score(groups)
    return weights, peak_of(profile)


def decoder_of(reward: ProcessReward) -> Any:
    """The reward's decoder; loads it if necessary."""
    assert isinstance(reward.runner, TransformersRunner)
    return reward.runner.load(reward.head)[0]


def peak_of(profile: Any) -> int:
    """The highest sum of allocations that torch's profiler recorded."""
    held = peak = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak


def flops(reward: ProcessReward, groups: Sequence[Group]) -> float:
    """Floating-point operations of one forward pass over all solutions: 2 per weight of the layers and token."""
    weights = sum(tensor.numel() for tensor in decoder_of(reward).layers.parameters())
    users = [(group.problem, [f"{group.problem.text} {group.responses[0].text}"]) for group in groups]
    return 2.0 * weights * sum(len(one.ids) for one in reward.render(users))
