"""One vLLM engine in a Ray actor, and what it is asked for.

The chosen tokens' log-probabilities come from the engine as the policy sampled them: at the temperature, renormalized
over the tokens that top-p, top-k and min-p keep (vLLM's "processed" log-probabilities; see rl/truncation.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewards.types import FinishReason
from rl.cluster import redirect_output
from rl.settings import PolicySettings, RolloutSettings, check_sampling, require

_KV_BLOCK = 32
"""Tokens per block of the KV cache on a CPU. vLLM's default there is 128. Most prompts are shorter than that, and could
then not be shared between the responses of a group."""

_REASONS: dict[str | None, FinishReason] = {"stop": "stop", "length": "length"}

Drawn = tuple[tuple[int, ...], tuple[float, ...], FinishReason]
"""One response as an engine returns it: token ids, log-probabilities, why it ended."""


@dataclass(frozen=True)
class Drawing:
    """How responses are drawn; see RolloutSettings for the units. `greedy` always takes the most likely token."""

    n: int
    max_new_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    greedy: bool = False
    stop: tuple[str, ...] = ()
    stop_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        require(self.n >= 1, f"at least one response per problem must be drawn, not {self.n}")
        check_sampling(self.temperature, self.top_p, self.top_k, self.min_p)
        require(not self.greedy or self.n == 1, f"greedy decoding would give {self.n} identical responses: draw 1")

    def parameters(self) -> dict[str, Any]:
        """Keyword arguments of vLLM's SamplingParams.

        If there are stop texts, the engine must decode the tokens, including special ones, which may be stop texts.
        """
        drawn = {"temperature": 0.0}
        if not self.greedy:
            drawn = {"temperature": self.temperature, "top_p": self.top_p, "top_k": self.top_k, "min_p": self.min_p}
        stops: dict[str, Any] = {"detokenize": False, "stop_token_ids": list(self.stop_ids)}
        if self.stop:
            stops |= {"detokenize": True, "skip_special_tokens": False, "stop": list(self.stop)}
        return {"n": self.n, "max_tokens": self.max_new_tokens, "logprobs": 0, "flat_logprobs": True, **drawn, **stops}


class VllmActor:
    """One vLLM engine, run as a Ray actor. Counts the weight syncs it has received."""

    def __init__(self, name: str, log_folder: str):
        redirect_output(Path(log_folder), name)
        self.name = name
        self.version = 0
        self.fault: str | None = None
        self.llm: Any = None

    def start(self, policy: PolicySettings, settings: RolloutSettings, device: str) -> None:
        """Load the model and create the KV cache. Raises ValueError, naming the key to change, if that fails."""
        self.llm = _start_engine(policy, settings, device)

    def generate(self, prompts: list[tuple[int, ...]], drawing: Drawing, seed: int | None) -> tuple[list, int]:
        """Draw `drawing.n` responses for each prompt. Returns a list of `Drawn` per prompt, and the weight version.

        `seed` sets the random state of this process, which only the engine uses: the same seed, prompts and weights
        give the same responses.
        """
        self._refuse_if_broken()
        import torch
        from vllm import SamplingParams

        if seed is not None:
            torch.manual_seed(seed)
        parameters = SamplingParams(**drawing.parameters())
        requests = [{"prompt_token_ids": list(ids)} for ids in prompts]
        outputs = self.llm.generate(requests, parameters, use_tqdm=False)
        return [[_drawn(completion) for completion in output.outputs] for output in outputs], self.version

    def load_weights(self, buckets: list[Any], version: int) -> float:
        """Load new weights from object references to `rl.weights.Bucket`s. Returns the seconds it took.

        If loading fails part-way, the engine has a mixture of old and new weights, and refuses all later calls.
        """
        import time

        self._refuse_if_broken()
        started = time.perf_counter()
        try:
            self.llm.collective_rpc("load_buckets", args=(buckets,))
            if not self.llm.reset_prefix_cache():
                raise RuntimeError("the prefix cache was in use and was not reset")
        except Exception as error:
            self.fault = f"{type(error).__name__}: {error}"
            raise RuntimeError(f"weight sync {version} failed, {self.name} is unusable: {self.fault}") from error
        self.version = version
        return time.perf_counter() - started

    def forget_prefixes(self) -> None:
        """Drop the prefix cache, so that the next responses are computed as by an engine that has just started."""
        self._refuse_if_broken()
        if not self.llm.reset_prefix_cache():
            raise RuntimeError("the prefix cache was in use and was not reset")

    def _refuse_if_broken(self) -> None:
        if self.fault is not None:
            raise RuntimeError(f"{self.name} is unusable because a weight sync failed ({self.fault}): restart it")


def _start_engine(policy: PolicySettings, settings: RolloutSettings, device: str) -> Any:
    """The vLLM engine. Raises ValueError, naming the key to change, if it does not start."""
    from vllm import LLM

    try:
        return LLM(**engine_arguments(policy, settings, device))
    except Exception as error:
        raise ValueError(_why_not_started(str(error), device)) from error


def engine_arguments(policy: PolicySettings, settings: RolloutSettings, device: str) -> dict[str, Any]:
    """Keyword arguments of `vllm.LLM`. `engine_options` come last: they may replace the defaults, but not our own keys.

    On a GPU the decoding steps are replayed as CUDA graphs unless `cuda_graphs` is False. A CPU has none, and compiling
    there takes half a minute.
    """
    of_device: dict[str, Any] = {"block_size": _KV_BLOCK, "enforce_eager": True}
    if device != "cpu":
        of_device = {
            "gpu_memory_utilization": settings.gpu_memory_utilization,
            "enforce_eager": not settings.cuda_graphs,
        }
    return {
        "model": policy.path,
        "dtype": "float32" if policy.dtype == "fp32" else "bfloat16",
        "max_model_len": settings.max_model_len,
        "max_num_seqs": settings.max_num_seqs,
        "enable_prefix_caching": True,
        "logprobs_mode": "processed_logprobs",
        "worker_extension_cls": "rl.weights.LoadsBuckets",
        "disable_log_stats": True,
        **of_device,
        **(settings.engine_options or {}),
    }


def _why_not_started(reason: str, device: str) -> str:
    """vLLM's reason for not starting as one line, with the key to change."""
    lines = [line.strip() for line in reason.splitlines() if line.strip()] or ["no reason given"]
    if "memory" in reason.lower() or "kv cache" in reason.lower():
        key = "rollout.kv_cache_gib" if device == "cpu" else "rollout.gpu_memory_utilization"
        advice = f"change {key} or lower rollout.max_model_len"
        return f"the engine has too little memory for its KV cache: {advice} ({lines[0]})"
    return f"the engine did not start: {lines[0]}"


def _drawn(completion: Any) -> Drawn:
    ids = tuple(completion.token_ids)
    logprobs = tuple(float(value) for value in completion.logprobs.logprobs) if ids else ()
    return ids, logprobs, _REASONS.get(completion.finish_reason, "abort")
