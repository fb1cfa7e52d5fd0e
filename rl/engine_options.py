"""Check `rollout.engine_options` against the arguments of vLLM's engine without importing vLLM, which is slow."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rewards.builder import nearest

SET_BY = {
    "model": "policy.path",
    "dtype": "policy.dtype",
    "max_model_len": "rollout.max_model_len",
    "max_num_seqs": "rollout.max_num_seqs",
    "gpu_memory_utilization": "rollout.gpu_memory_utilization",
    "enforce_eager": "rollout.cuda_graphs",
}
"""Engine arguments that have a key of their own."""

FIXED = {
    "tokenizer": "the policy and its sampler share one tokenizer",
    "skip_tokenizer_init": "stop texts need the tokenizer",
    "trust_remote_code": "code that comes with a model is never run",
    "logprobs_mode": "the learner needs the log-probabilities that the tokens were drawn with",
    "max_logprobs": "the learner needs the log-probabilities that the tokens were drawn with",
    "worker_extension_cls": "the weight sync needs its own",
    "worker_cls": "the weight sync needs its own",
    "enable_lora": "the sampler gets merged weights",
    "quantization": "the sampler must compute what the learner computes",
    "speculative_config": "its log-probabilities are not those of the policy",
    "disable_log_stats": "nothing reads the statistics",
    "tensor_parallel_size": "an engine runs in one process",
    "pipeline_parallel_size": "an engine runs in one process",
    "data_parallel_size": "set rollout.engines instead",
    "distributed_executor_backend": "an engine runs in one process",
    "runner": "the engine generates",
    "convert": "the engine generates",
    "seed": "every call is seeded with the run's seed",
}
"""Engine arguments that would break the loop, and why."""


def errors(options: Mapping[str, Any] | None) -> list[str]:
    """What is wrong with these options, one message per option; empty if nothing is."""
    found = []
    for name in options or {}:
        key = f"rollout.engine_options.{name}"
        if name in SET_BY:
            found.append(f"{key}: set {SET_BY[name]} instead")
        elif name in FIXED:
            found.append(f"{key} cannot be changed: {FIXED[name]}")
        elif (known := engine_argument_names()) and name not in known:
            found.append(f"{key} is not an argument of vLLM's engine{nearest(name, known)}")
    return found


@cache
def engine_argument_names() -> frozenset[str]:
    """The names that vLLM's EngineArgs has, read from its source; empty if vLLM is not installed here."""
    package = find_spec("vllm")
    if package is None or not package.submodule_search_locations:
        return frozenset()
    source = Path(package.submodule_search_locations[0], "engine", "arg_utils.py")
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name == "EngineArgs":
            fields = [line.target for line in node.body if isinstance(line, ast.AnnAssign)]
            return frozenset(field.id for field in fields if isinstance(field, ast.Name) and field.id[0] != "_")
    return frozenset()
