"""The learner's weights into the engines, and the proof that they arrived.

Rank 0 of the learner puts the weights into Ray's object store in buckets of bounded size (under ZeRO-3 all ranks gather
each bucket together); an engine reads one bucket after the other straight from shared memory and loads it through
vLLM's `reload_weights`, which knows how its kernels lay weights out on CPU and GPU alike. Then its prefix cache is
dropped, because the keys and values in it are the old policy's, and its weight version advances.

The proof is the gap: right after a sync the engine's log-probabilities of its own samples must equal the learner's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import ray
import torch
from torch import Tensor

from rl.settings import Precision
from rl.types import TrainBatch

if TYPE_CHECKING:
    from rl.learner.group import LearnerGroup
    from rl.sampler import SamplerGroup

BUCKET_BYTES = 256 * 2**20
"""Bytes in a bucket, at most, unless a single tensor is larger: then it travels alone."""

TOLERANCE: dict[Precision, float] = {"fp32": 1e-4, "bf16": 3e-2}
"""Largest mean gap, in nats a token, that rounding explains. Measured on tiny Llamas on a CPU: fp32 5e-7
(trained) to 4e-6 (random, wide); bf16 1e-4 to 2e-3 (trained), 8e-3 (random), 7e-2 (random, weights ten times wider)."""


class WeightsDidNotArrive(RuntimeError):
    """The sampler's log-probabilities are not those of the learner's weights."""


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
    """Tensors on any device, with their names, as one bucket on the CPU."""
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
    """Names in buckets, in their order: each bucket holds at most `bucket_bytes`, or a single larger tensor."""
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
    """vLLM worker extension: loads weights from buckets in Ray's object store. vLLM mixes it into its worker class.

    The worker must live in the process of the Ray actor (`VLLM_ENABLE_V1_MULTIPROCESSING=0`).
    """

    def load_buckets(self, references: list[Any]) -> None:
        """Replace the model's weights by those in these buckets, fetching one bucket at a time."""
        self.reload_weights(weights_iterator=_stream(references))  # type: ignore[attr-defined]
        if getattr(self.model_config.hf_text_config, "tie_word_embeddings", False):  # type: ignore[attr-defined]
            _refresh_head(self.get_model())  # type: ignore[attr-defined]


def _stream(references: list[Any]) -> Iterator[tuple[str, Tensor]]:
    for reference in references:
        yield from unpack(ray.get(reference))


def _refresh_head(model: Any) -> None:
    """Let an output head that shares the embedding's weights take their new values.

    On CPU vLLM's head keeps a packed copy for its kernel, and `reload_weights` renews only the copies of layers that
    are loaded by name, which a tied head is not.
    """
    from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead

    for layer in model.modules():
        if isinstance(layer, ParallelLMHead):
            layer.quant_method.process_weights_after_loading(layer)


def sync(learner: LearnerGroup, sampler: SamplerGroup, version: int, *, keep_prefix_cache: bool = False) -> None:
    """Give every engine the learner's present weights, drop its prefix cache and set its weight version.

    `keep_prefix_cache` exists for tests that show what the log-probability gap catches. Raises RuntimeError where an
    engine could not load the weights; that engine refuses all later calls.
    """
    sampler.load_weights(learner.weights(), version, keep_prefix_cache=keep_prefix_cache)


def gap(batch: TrainBatch, policy_logprobs: Tensor) -> dict[str, float]:
    """How far the sampler's log-probabilities lie from the learner's on response tokens, in nats.

    `policy_logprobs` (B, L) are the learner's at the sampling temperature and before any update on this batch.
    Returns the mean and the maximum of the absolute differences; both 0 for a batch without response tokens, NaN where
    a log-probability is NaN.
    """
    differences = (batch.behaviour_logprobs - policy_logprobs).abs()[batch.response_mask]
    if not len(differences):
        return {"mean": 0.0, "max": 0.0}
    return {"mean": float(differences.mean()), "max": float(differences.max())}


def check_gap(measured: dict[str, float], dtype: Precision, tolerance: float | None = None) -> None:
    """Raise WeightsDidNotArrive where the mean gap is more than rounding explains.

    `tolerance` in nats a token; None takes TOLERANCE for the policy's dtype. The mean decides, not the maximum: in bf16
    a single unlikely token can differ by much.
    """
    limit = TOLERANCE[dtype] if tolerance is None else tolerance
    if not measured["mean"] <= limit:
        raise WeightsDidNotArrive(
            f"sampler and learner disagree by {measured['mean']:.2g} nats a token on average (at most "
            f"{measured['max']:.2g}; {dtype} explains {limit:g}): the weights did not arrive in the sampler, or its "
            "prefix cache is an older policy's"
        )
