"""What tests of the real stack share: one Ray for the session, one tiny policy, batches made without sampling."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from rl.cluster import start_cluster, stop_cluster
from rl.settings import ClusterSettings
from rl.types import TrainBatch
from tests.tiny import make_llama, make_tokenizer


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterSettings]:
    """A running Ray, and the settings it was started with."""
    settings = ClusterSettings(timeout_s=240)
    start_cluster(settings, tmp_path_factory.mktemp("ray"))
    yield settings
    stop_cluster()


@pytest.fixture(scope="session")
def policy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of two layers with its tokenizer."""
    return make_llama(tmp_path_factory.mktemp("policy"), make_tokenizer(), hidden=128)


@pytest.fixture
def batch() -> TrainBatch:
    """Nine rows of unequal lengths, prompts and responses; one response is empty. (9, 40)"""
    return random_batch(9, seed=3)


@pytest.fixture
def shared_batch() -> TrainBatch:
    """As `batch`, but rows 2 to 4 have the same prompt, and so have rows 6 to 8."""
    return random_batch(9, seed=3, shared=True)


def random_batch(rows: int, seed: int, longest: int = 40, *, shared: bool = False) -> TrainBatch:
    """Random tokens with random lengths and advantages; row 1 has an empty response.

    With `shared`, rows 2 to 4 have the same prompt, and so have rows 6 to 8, if there are as many.
    """
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(12, longest + 1, (rows,), generator=generator)
    lengths[0] = longest
    prompts = torch.randint(3, 10, (rows,), generator=generator)
    prompts[1] = lengths[1]
    ids = torch.randint(10, 300, (rows, longest), generator=generator)
    places = torch.arange(longest)
    for first, last in ((2, 5), (6, 9)) if shared else ():
        prompts[first:last] = prompts[first : first + 1]
        ids[first:last] = torch.where(places < prompts[first : first + 1], ids[first : first + 1], ids[first:last])
    attention = places < lengths[:, None]
    response = attention & (places >= prompts[:, None])
    return TrainBatch(
        input_ids=ids,
        attention_mask=attention,
        response_mask=response,
        behaviour_logprobs=torch.zeros(rows, longest),
        advantages=torch.randn(rows, 1, generator=generator) * response,
    )
