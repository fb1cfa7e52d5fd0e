"""Estimate a run's memory and hours by arithmetic. For planning; these are not measurements.

Hours are upper bounds of the work (every response at its maximum length) at the sustained speeds in `SPEEDS`. Left out:
startup, communication between ranks, and idle time while one actor waits for another's last sequence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rl.planning.model_sizes import ModelFacts
from rl.settings import LearnerSettings, Precision

GIB = 2**30
BYTES: dict[str, int] = {"fp32": 4, "bf16": 2}


@dataclass(frozen=True)
class Speed:
    """Sustained speed of one device: floating-point operations and bytes of memory traffic per second, and the overhead
    of a decoding step in seconds."""

    name: str
    flops: float
    bandwidth: float
    step_s: float
    memory_gib: float | None


SPEEDS: dict[Literal["cpu", "cuda"], Speed] = {
    # An H100 SXM has 989 TFLOP/s (bf16, dense) and 3.35 TB/s; training and decoding reach about 40 % and 60 % of them.
    "cuda": Speed("an H100 of 80 GB", 400e12, 2.0e12, 0.02, 80.0),
    # One thread of a server CPU in fp32; the step overhead is vLLM's on a CPU.
    "cpu": Speed("one thread of a CPU", 30e9, 8e9, 0.01, None),
}


@dataclass(frozen=True)
class Memory:
    """Bytes on one device, by purpose."""

    weights: float = 0.0
    gradients: float = 0.0
    optimizer: float = 0.0
    activations: float = 0.0
    cache: float = 0.0

    @property
    def gib(self) -> float:
        """The total in GiB."""
        return (self.weights + self.gradients + self.optimizer + self.activations + self.cache) / GIB

    def __add__(self, other: Memory) -> Memory:
        return Memory(*(mine + theirs for mine, theirs in zip(_fields(self), _fields(other), strict=True)))


def trained(facts: ModelFacts, learner: LearnerSettings, dtype: Precision) -> Memory:
    """One rank's share of a model in training (Rajbhandari et al., arXiv:1910.02054, section 3.1).

    16 to 20 bytes per parameter in bf16: weights 2, gradients 4 (accumulated in fp32), and 12 for the fp32 copy and
    Adam's two moments. ZeRO 2 divides everything except the weights among the ranks; ZeRO 3 divides the weights too.
    LoRA trains only its adapters.
    """
    lora, ranks = learner.lora, learner.ranks
    changing = facts.parameters if lora is None else facts.adapter_parameters(lora.rank)
    held = facts.parameters + (0 if lora is None else changing)
    divided, all_divided = learner.zero_stage >= 2, learner.zero_stage == 3
    return Memory(
        weights=held * BYTES[dtype] / (ranks if all_divided else 1),
        gradients=changing * 4 / (ranks if divided else 1),
        optimizer=changing * 12 / (ranks if divided else 1),
    )


def frozen(facts: ModelFacts, learner: LearnerSettings, dtype: Precision) -> Memory:
    """One rank's share of the reference: whole, or divided under ZeRO 3. Nothing with LoRA (shared weights)."""
    if learner.lora is not None:
        return Memory()
    return Memory(weights=facts.parameters * BYTES[dtype] / (learner.ranks if learner.zero_stage == 3 else 1))


def activations(facts: ModelFacts, learner: LearnerSettings, dtype: Precision) -> Memory:
    """What a forward pass over `micro_batch_tokens` keeps for the backward pass, on one rank.

    34 bytes per token, layer and hidden unit in bf16, without attention's own activations, which fused kernels do not
    keep (Korthikanti et al., arXiv:2205.05198, eq. 2 with selective recomputation). With gradient checkpointing, one
    number each, plus one layer in full. The logits count three times: as computed, in fp32, and their gradient.
    """
    tokens, wide = learner.micro_batch_tokens, BYTES[dtype] / 2
    layer = 34 * tokens * facts.hidden * wide
    kept = 2 * wide * tokens * facts.hidden * facts.layers + layer
    logits = tokens * facts.vocab * (2 * BYTES[dtype] + 4)
    return Memory(activations=(kept if learner.gradient_checkpointing else layer * facts.layers) + logits)


def loaded(facts: ModelFacts, dtype: Precision) -> Memory:
    """A model used only for inference."""
    return Memory(weights=facts.parameters * BYTES[dtype])


def forward_seconds(facts: ModelFacts, tokens: float, speed: Speed) -> float:
    """Seconds for one device to run `tokens` tokens forward: two operations per parameter and token."""
    return 2 * facts.parameters * tokens / speed.flops


def training_seconds(facts: ModelFacts, tokens: float, speed: Speed, *, recomputing: bool) -> float:
    """Seconds for one device to train on `tokens` tokens: forward, twice that backward, once more if recomputing."""
    return (4 if recomputing else 3) * forward_seconds(facts, tokens, speed)


@dataclass(frozen=True)
class Decoding:
    """Drawing `sequences` of `tokens` tokens each after prompts of `prompt` tokens, `at_once` of them at a time."""

    sequences: int
    tokens: int
    prompt: int
    at_once: int
    dtype: Precision


def decoding_seconds(facts: ModelFacts, work: Decoding, speed: Speed) -> float:
    """Seconds for one engine: each step takes as long as reading weights and cache, or computing if that is longer."""
    if not work.sequences:
        return 0.0
    at_once = max(1, min(work.at_once, work.sequences))
    width = BYTES[work.dtype]
    cache = at_once * (work.prompt + work.tokens / 2) * facts.kv_elements * width
    reading = (facts.parameters * width + cache) / speed.bandwidth
    computing = forward_seconds(facts, at_once, speed)
    steps = work.tokens * work.sequences / at_once
    return steps * (max(reading, computing) + speed.step_s) + forward_seconds(
        facts, work.sequences * work.prompt, speed
    )


def sequences_that_fit(facts: ModelFacts, gib: float, length: int, dtype: Precision) -> int:
    """How many sequences of `length` tokens a KV cache of `gib` GiB holds."""
    return int(max(0.0, gib) * GIB // (facts.kv_elements * BYTES[dtype] * length))


def _fields(memory: Memory) -> tuple[float, ...]:
    return (memory.weights, memory.gradients, memory.optimizer, memory.activations, memory.cache)
