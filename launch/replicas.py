"""A reward in Ray actors, for the commands that score without training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rewards.actors import RewardGroup
from rl.cluster import actor_options, start_cluster
from rl.settings import ClusterSettings


def replicated(
    node: Mapping[str, Any], replicas: int, cluster: ClusterSettings, folder: Path, event: Callable[[str], None]
) -> RewardGroup:
    """The reward of a configuration node in `replicas` actors. Starts Ray; `event` is told when one is replaced."""
    start_cluster(cluster, folder)
    return RewardGroup(
        node,
        replicas=replicas,
        ray_options=actor_options(cluster, "reward", actors=replicas),
        threads=cluster.threads_of(replicas) if cluster.device == "cpu" else None,
        timeout_s=cluster.timeout_s,
        event=lambda text: event(f"note: {text}"),
    )
