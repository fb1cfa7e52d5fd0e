"""Transfer the learner's weights to the engines: pack them in buckets, unpack them in vLLM's worker.

Rank 0 of the learner puts the weights into Ray's object store in buckets of bounded size (under ZeRO-3 all ranks gather
each bucket together). An engine reads one bucket at a time straight from shared memory and loads it through vLLM's
`reload_weights`, which handles the kernels' weight layout on CPU and GPU alike. Then the engine drops its prefix cache,
because its keys and values are the old policy's, and advances its weight version (`rl.sync`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
import torch
from torch import Tensor

BUCKET_BYTES = 256 * 2**20
"""Maximum bytes in a bucket; a larger tensor gets a bucket to itself."""


@dataclass(frozen=True)
class Entry:
    """One tensor in a bucket: its Hugging Face name, dtype (as in `torch.float32`), shape and place in bytes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True)
class Bucket:
    """Several tensors as one flat array of bytes, which Ray shares between processes without a copy."""

    entries: tuple[Entry, ...]
    data: np.ndarray  # uint8


def pack(tensors: Iterable[tuple[str, Tensor]]) -> Bucket:
    """Pack named tensors on any device into one bucket on the CPU."""
    entries, parts, start = [], [], 0
    for name, tensor in tensors:
        flat = tensor.detach().to("cpu").contiguous()
        part = flat.reshape(-1).view(torch.uint8).numpy()
        dtype = str(tensor.dtype).removeprefix("torch.")
        entries.append(Entry(name, dtype, tuple(tensor.shape), start, start + part.nbytes))
        parts.append(part)
        start += part.nbytes
    return Bucket(tuple(entries), np.concatenate(parts) if parts else np.zeros(0, dtype=np.uint8))


def unpack(bucket: Bucket) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a bucket with their names. They own their memory: the bucket in shared memory is read-only."""
    for entry in bucket.entries:
        piece = torch.from_numpy(bucket.data[entry.start : entry.end].copy())
        yield entry.name, piece.view(getattr(torch, entry.dtype)).reshape(entry.shape)


def split(sizes: Iterable[tuple[str, int]], bucket_bytes: int = BUCKET_BYTES) -> list[list[str]]:
    """Split names into buckets, in order: each holds at most `bucket_bytes`, or a single larger tensor."""
    buckets: list[list[str]] = []
    room = 0
    for name, size in sizes:
        if not buckets or size > room:
            buckets.append([])
            room = bucket_bytes
        buckets[-1].append(name)
        room -= size
    return buckets


class LoadsBuckets:
    """vLLM worker extension that loads weights from buckets in Ray's object store. vLLM mixes it into its worker class.

    The worker must run in the Ray actor's process (`VLLM_ENABLE_V1_MULTIPROCESSING=0`).
    """

    def load_buckets(self, references: list[Any]) -> None:
        """Replace the model's weights with those in these buckets, fetching one bucket at a time."""
        self.reload_weights(weights_iterator=_stream(references))  # type: ignore[attr-defined]
        if getattr(self.model_config.hf_text_config, "tie_word_embeddings", False):  # type: ignore[attr-defined]
            _refresh_head(self.get_model())  # type: ignore[attr-defined]


def _stream(references: list[Any]) -> Iterator[tuple[str, Tensor]]:
    for reference in references:
        yield from unpack(ray.get(reference))


def _refresh_head(model: Any) -> None:
    """Update an output head that shares the embedding's weights.

    On CPU vLLM's head keeps a packed copy for its kernel. `reload_weights` refreshes only the copies of layers loaded
    by name, which a tied head is not.
    """
    from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead

    for layer in model.modules():
        if isinstance(layer, ParallelLMHead):
            layer.quant_method.process_weights_after_loading(layer)
