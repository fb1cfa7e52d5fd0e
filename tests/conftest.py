"""What all tests share: one thread per process, no downloads, no Hypothesis deadline, and no Ray in unit tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

settings.register_profile("shared", deadline=None)
settings.load_profile("shared")


@pytest.fixture(autouse=True)
def no_ray_in_unit_tests(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a test that starts Ray without the marker e2e."""
    before = _ray_runs()
    yield
    if "e2e" not in request.keywords:
        assert before or not _ray_runs(), "this test started Ray: mark it e2e"


def _ray_runs() -> bool:
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized()
