"""Draw responses: vLLM engines in Ray actors, and the handle through which the loop samples.

The engine returns each chosen token's log-probability under the distribution it was drawn from: at the temperature, and
renormalized over the tokens that top-p, top-k and min-p keep (vLLM's "processed" log-probabilities; see
rl/truncation.py). Each engine gets its share of a batch of problems in one call.

A response ends at the tokenizer's eos_token, at the token that ends a turn in the chat template, at one of
`rollout.stop_token_ids`, or when one of the texts in `rollout.stop` is complete. The response includes what ended it:
the token, or all tokens up to the one that completed the text, even if that token contains more text. So a sample's
text is always the decoded ids, and the learner sees every id.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from rewards.types import FinishReason, Problem
from rl.cluster import actor_options, call, end, redirect_output
from rl.policy import check_policy, decode, load_tokenizer, prompt_ids
from rl.settings import ClusterSettings, PolicySettings, RolloutSettings, check_sampling, require
from rl.stops import stop_ids
from rl.types import AnswerGroup, Sample

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

    own = {"block_size": _KV_BLOCK} if device == "cpu" else {"gpu_memory_utilization": settings.gpu_memory_utilization}
    try:
        return LLM(
            model=policy.path,
            dtype="float32" if policy.dtype == "fp32" else "bfloat16",
            max_model_len=settings.max_model_len,
            max_num_seqs=settings.max_num_seqs,
            enable_prefix_caching=True,
            enforce_eager=True,
            logprobs_mode="processed_logprobs",
            worker_extension_cls="rl.weights.LoadsBuckets",
            disable_log_stats=True,
            **own,
        )
    except Exception as error:
        raise ValueError(_why_not_started(str(error), device)) from error


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


class SamplerGroup:
    """The engines as the loop sees them.

    The constructor starts the engines and returns immediately; `wait`, or the first other call, waits until they are
    ready. Raises FileNotFoundError or ValueError before anything starts if the policy's folder cannot be used.
    """

    def __init__(
        self, policy: PolicySettings, settings: RolloutSettings, cluster: ClusterSettings, *, log_folder: Path
    ):
        check_policy(policy.path)
        self.tokenizer = load_tokenizer(policy.path, policy.chat_template_kwargs)
        self.settings = settings
        self.stops: dict[str, Any] = {"stop": settings.stop, "stop_ids": stop_ids(self.tokenizer, settings)}
        self.timeout = cluster.timeout_s
        self.log_folder = log_folder
        self.version = 0
        options = actor_options(
            cluster, "engine", actors=settings.engines, kv_cache_gib=settings.kv_cache_gib, model_path=policy.path
        )
        actor: Any = ray.remote(VllmActor).options(**options)
        self.engines = [actor.remote(f"engine-{index}", str(log_folder)) for index in range(settings.engines)]
        self._starting = [engine.start.remote(policy, settings, cluster.device) for engine in self.engines]

    def wait(self) -> None:
        """Wait until every engine runs. Raises ValueError or RuntimeError, in one line, if one does not start."""
        self._finish(self._starting, "starting the engines")

    def sample(
        self,
        problems: Sequence[Problem],
        n: int,
        *,
        max_new_tokens: int | None = None,
        seed: int | None = None,
        **sampling: Any,
    ) -> list[AnswerGroup]:
        """Draw `n` responses for each problem, in the order of the problems.

        `sampling`: temperature, top_p, top_k, min_p, greedy, as in `Drawing`; by default, all tokens at temperature 1.
        `max_new_tokens` defaults to the settings' value. With a `seed`, the same weights give the same responses.
        Greedy log-probabilities are those at temperature 1. Raises ValueError, naming the problem, if its prompt is
        empty or too long for the engine.
        """
        drawing = Drawing(n, max_new_tokens or self.settings.max_new_tokens, **sampling, **self.stops)
        prompts = [self._prompt(problem, drawing.max_new_tokens) for problem in problems]
        drawn = self._draw(prompts, drawing, seed)
        return [AnswerGroup.drawn(problem, samples) for problem, samples in zip(problems, drawn, strict=True)]

    def continue_from(
        self,
        beginnings: Sequence[tuple[int, ...]],
        n: int,
        *,
        seed: int | None = None,
        **sampling: Any,
    ) -> list[list[Sample]]:
        """Draw `n` continuations of each beginning: the token ids of a prompt and the first part of a response.

        The result is in the order of the beginnings. A sample's `prompt_ids` are its whole beginning; its text is only
        the continuation. One call computes the shared prefixes of neighbouring beginnings once (prefix cache). A
        continuation ends at the settings' `max_new_tokens`, or when the engine's `max_model_len` is reached. Raises
        ValueError if a beginning leaves no room for a token.
        """
        longest = max(map(len, beginnings), default=0)
        if longest >= self.settings.max_model_len:
            raise ValueError(
                f"a response of {longest} tokens with its prompt cannot be continued: raise rollout.max_model_len, "
                f"which is {self.settings.max_model_len}"
            )
        return self._draw(beginnings, Drawing(n, self.settings.max_new_tokens, **sampling, **self.stops), seed)

    def _draw(self, prompts: Sequence[tuple[int, ...]], drawing: Drawing, seed: int | None) -> list[list[Sample]]:
        """Draw responses to each prompt. Each engine gets a contiguous block of the prompts."""
        share = max(1, math.ceil(len(prompts) / len(self.engines)))
        refs = [
            engine.generate.remote(
                prompts[index * share : (index + 1) * share], drawing, None if seed is None else seed + index
            )
            for index, engine in enumerate(self.engines)
            if index * share < len(prompts)
        ]
        answers = self._call(refs, "sampling")
        drawn = [(responses, version) for groups, version in answers for responses in groups]
        return [
            [self._sample(prompt, response, version) for response in responses]
            for prompt, (responses, version) in zip(prompts, drawn, strict=True)
        ]

    def load_weights(self, buckets: list[Any], version: int) -> float:
        """Load the weights in these object references into every engine. Returns the seconds of the slowest engine."""
        refs = [engine.load_weights.remote(buckets, version) for engine in self.engines]
        seconds = max(self._call(refs, f"weight sync {version}"))
        self.version = version
        return float(seconds)

    def forget_prefixes(self) -> None:
        """Drop every engine's prefix cache, so that what a seed draws does not depend on earlier draws."""
        self._call([engine.forget_prefixes.remote() for engine in self.engines], "dropping the prefix cache")

    def shutdown(self) -> None:
        """End the engines' processes."""
        end(self.engines)
        self.engines = []

    def _prompt(self, problem: Problem, max_new_tokens: int) -> tuple[int, ...]:
        ids = prompt_ids(self.tokenizer, problem)
        room = self.settings.max_model_len - max_new_tokens
        if len(ids) > room:
            raise ValueError(
                f"problem {problem.id}: its prompt has {len(ids)} tokens, but rollout.max_model_len - max_new_tokens "
                f"leaves {room}; raise rollout.max_model_len or remove the problem"
            )
        return ids

    def _sample(self, prompt: tuple[int, ...], drawn: Drawn, version: int) -> Sample:
        ids, logprobs, reason = drawn
        return Sample(prompt, ids, logprobs, decode(self.tokenizer, ids), reason, version)

    def _call(self, refs: list[Any], what: str) -> list[Any]:
        self.wait()
        return self._finish(refs, what)

    def _finish(self, refs: list[Any], what: str) -> list[Any]:
        names = [f"engine-{index}" for index in range(len(refs))]
        return call(refs, self.timeout, what, names=names, log_folder=self.log_folder)
