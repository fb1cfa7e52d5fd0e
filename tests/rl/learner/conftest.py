"""The learner's tests share their processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from rl.settings import ClusterSettings
from tests.rl.learner.rig import Ranks


@pytest.fixture(scope="package")
def ranks(
    cluster: ClusterSettings, policy_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[int, Ranks]]:
    logs = tmp_path_factory.mktemp("logs")
    groups = {count: Ranks(count, cluster, policy_folder, logs) for count in (1, 2)}
    yield groups
    for group in groups.values():
        for actor in group.actors:
            ray.kill(actor)
