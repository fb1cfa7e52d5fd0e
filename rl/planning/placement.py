"""The actors of a run: how many, what each loads, and how they share the GPUs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rl.planning.estimates import (
    BYTES,
    GIB,
    SPEEDS,
    Memory,
    activations,
    frozen,
    loaded,
    sequences_that_fit,
    trained,
)
from rl.planning.model_sizes import ModelFacts, facts_of, nodes_with_models
from rl.run_settings import RunSettings


@dataclass(frozen=True)
class Actors:
    """`count` processes of one kind; each takes `memory` (None: unknown) and `gpus`, a share of a GPU."""

    name: str
    count: int
    what: str
    memory: Memory | None
    gpus: float
    note: str = ""


@dataclass(frozen=True)
class RewardModel:
    """A model that the reward loads: where it is in the configuration, its class, and its size if known."""

    key: str
    model: str
    kind: str
    node: Mapping[str, Any]
    facts: ModelFacts | None

    @property
    def dtype(self) -> str:
        """The dtype of its weights: fp32 or bf16."""
        return str(self.node.get("dtype", "fp32"))

    @property
    def is_judge(self) -> bool:
        """Whether it generates judgements, on its own engine, rather than scoring responses."""
        return "max_new_tokens" in self.node


def reward_models(settings: RunSettings) -> list[RewardModel]:
    """The models in the reward's configuration."""
    return [
        RewardModel(key, node["model"], str(node.get("_target_", "")).rpartition(".")[2], node, facts_of(node["model"]))
        for key, node in nodes_with_models(settings.reward_config, "reward")
    ]


def model_names(settings: RunSettings) -> dict[str, str]:
    """The models that a run needs, by configuration key; a critic that starts from the policy is not listed."""
    names = {"policy.path": settings.policy.path}
    critic = settings.algorithm.critic
    if critic is not None and critic.path is not None:
        names["algorithm.critic.path"] = critic.path
    return names | {f"{one.key}.model": one.model for one in reward_models(settings)}


def actors(settings: RunSettings) -> list[Actors]:
    """Engines, learner ranks and reward actors, in starting order."""
    return [_engines(settings), _ranks(settings), _rewards(settings)]


def gpus(groups: Sequence[Actors]) -> list[list[Actors]]:
    """The actors on each GPU, if each actor takes the first GPU with room for its share."""
    places: list[tuple[float, list[Actors]]] = []
    for one in _single(groups):
        for index, (used, there) in enumerate(places):
            if used + one.gpus <= 1 + 1e-9:
                places[index] = (used + one.gpus, [*there, one])
                break
        else:
            places.append((one.gpus, [one]))
    return [there for _, there in places]


def sequences_at_once(settings: RunSettings, facts: ModelFacts) -> int:
    """How many full-length sequences one engine draws at a time: as many as its KV cache holds, up to max_num_seqs."""
    length = settings.rollout.max_model_len
    fit = sequences_that_fit(facts, _cache_gib(settings, facts), length, settings.policy.dtype)
    return min(settings.rollout.max_num_seqs, fit)


def _cache_gib(settings: RunSettings, facts: ModelFacts) -> float:
    if settings.cluster.device == "cpu":
        return float(settings.rollout.kv_cache_gib)
    whole = SPEEDS["cuda"].memory_gib or 0.0
    return settings.rollout.gpu_memory_utilization * whole - loaded(facts, settings.policy.dtype).gib


def _engines(settings: RunSettings) -> Actors:
    facts = facts_of(settings.policy.path)
    memory, note = None, ""
    if facts is not None:
        cache = _cache_gib(settings, facts)
        memory = loaded(facts, settings.policy.dtype) + Memory(cache=max(0.0, cache) * GIB)
        note = f"KV cache {cache:.1f} GiB: {sequences_at_once(settings, facts)} full-length sequences at a time"
    return Actors("sampler", settings.rollout.engines, "vLLM: the policy", memory, _share(settings, "engine"), note)


def _ranks(settings: RunSettings) -> Actors:
    learner, dtype, algorithm = settings.learner, settings.policy.dtype, settings.algorithm
    parts = ["the policy" if learner.lora is None else f"the policy with adapters of rank {learner.lora.rank}"]
    facts = facts_of(settings.policy.path)
    memory = None if facts is None else trained(facts, learner, dtype) + activations(facts, learner, dtype)
    if algorithm.needs_reference:
        parts.append("frozen reference" if learner.lora is None else "reference (the policy without adapters)")
        memory = None if facts is None or memory is None else memory + frozen(facts, learner, dtype)
    if algorithm.critic is not None:
        parts.append("critic")
        critic = facts if algorithm.critic.path is None else facts_of(algorithm.critic.path)
        whole = replace(learner, lora=None)  # a critic is still trained in full
        memory = None if critic is None or memory is None else memory + trained(critic, whole, dtype)
    note = "" if memory is None else f"of which activations {memory.activations / GIB:.1f}"
    what = f"DeepSpeed ZeRO-{learner.zero_stage}: {' + '.join(parts)}"
    return Actors("learner", learner.ranks, what, memory, _share(settings, "learner"), note)


def _rewards(settings: RunSettings) -> Actors:
    models = reward_models(settings)
    memory: Memory | None = Memory()
    for one in models:
        part = None if one.facts is None else _reading(one, one.facts, settings)
        memory = None if memory is None or part is None else memory + part
    kind = type(settings.reward).__name__
    what = f"{kind}: {', '.join(one.model for one in models)}" if models else f"{kind}, no model on this cluster"
    return Actors("reward", settings.loop.reward_replicas, what, memory, _share(settings, "reward"))


def _reading(model: RewardModel, facts: ModelFacts, settings: RunSettings) -> Memory:
    """A reward model's memory: a judge's engine takes its share of the GPU; others need weights and a forward pass."""
    weights = facts.parameters * BYTES[model.dtype]
    if model.is_judge:
        whole = SPEEDS[settings.cluster.device].memory_gib
        share = float(model.node.get("gpu_memory", 0.0)) * (whole or 0.0) * GIB
        return Memory(weights=weights, cache=max(0.0, share - weights))
    tokens = int(model.node.get("batch_tokens") or (1024 if settings.cluster.device == "cpu" else 16384))
    return Memory(weights=weights, activations=4 * tokens * facts.intermediate * BYTES[model.dtype])


def _share(settings: RunSettings, role: str) -> float:
    return float(getattr(settings.cluster, f"gpus_per_{role}")) if settings.cluster.device == "cuda" else 0.0


def _single(groups: Sequence[Actors]) -> Iterator[Actors]:
    for group in groups:
        for _ in range(group.count):
            yield group
