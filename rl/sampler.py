"""Drawing responses: vLLM engines in Ray actors, and the handle the loop samples through.

The chosen tokens' log-probabilities come from the engine as the policy sampled them: at the temperature, renormalized
over the tokens that top-p, top-k and min-p keep (vLLM's "processed" log-probabilities; see rl/truncation.py). A whole
batch of problems goes to the engines in one call each.

A response ends at the tokenizer's eos_token, at the token that ends a turn in the chat template, at
`rollout.stop_token_ids`, or where one of the texts in `rollout.stop` is complete. It keeps what ended it: the token, or
all tokens up to the one that completed the text, even if that token goes on beyond it. So a sample's text is what its
ids decode to, and every id is one that the learner sees.
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
"""Tokens in a block of the KV cache on CPU. vLLM's default there, 128, is longer than most prompts, which then are not
shared between the responses of a group."""

_REASONS: dict[str | None, FinishReason] = {"stop": "stop", "length": "length"}

Drawn = tuple[tuple[int, ...], tuple[float, ...], FinishReason]
"""One response as an engine returns it: token ids, log-probabilities, why it ended."""


@dataclass(frozen=True)
class Drawing:
    """How responses are drawn: see RolloutSettings for the units. `greedy` takes the likeliest token each time."""

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
        require(not self.greedy or self.n == 1, f"greedy decoding gives {self.n} equal responses: draw 1")

    def parameters(self) -> dict[str, Any]:
        """Keyword arguments of vLLM's SamplingParams.

        Texts to stop at need the engine to decode, special tokens included, so that a special token can be such a text.
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
        """Load the model and the KV cache. Raises ValueError, naming the key to change, where that fails."""
        self.llm = _start_engine(policy, settings, device)

    def generate(self, prompts: list[tuple[int, ...]], drawing: Drawing, seed: int | None) -> tuple[list, int]:
        """Draw `drawing.n` responses for each prompt; returns them (list of lists of `Drawn`) and the weight version.

        `seed` sets the engine's random state, which its process owns alone: the same seed, prompts and weights give the
        same responses.
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
        """Take new weights from object references of `rl.weights.Bucket`s; returns the seconds it took.

        A load that fails half-way leaves weights of two policies mixed: the engine then refuses every later call.
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
        """Drop the prefix cache: what is drawn next is computed from nothing, as by an engine that was just started."""
        self._refuse_if_broken()
        if not self.llm.reset_prefix_cache():
            raise RuntimeError("the prefix cache was in use and was not reset")

    def _refuse_if_broken(self) -> None:
        if self.fault is not None:
            raise RuntimeError(f"{self.name} is unusable since a weight sync failed ({self.fault}): start it anew")


def _start_engine(policy: PolicySettings, settings: RolloutSettings, device: str) -> Any:
    """The vLLM engine. Raises ValueError, naming the key to change, where it does not start."""
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
    """One line from vLLM's reason for not starting, with the key to change."""
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

    Making one starts the engines and returns at once; the first call waits for them (or `wait`). Raises
    FileNotFoundError or ValueError before anything starts where the policy's folder cannot work.
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
        """Return once every engine runs. Raises ValueError or RuntimeError in one line where one does not start."""
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
        """Draw `n` responses for each problem, in their order.

        `sampling`: temperature, top_p, top_k, min_p, greedy, as in `Drawing`; all tokens at temperature 1 by default.
        `max_new_tokens` defaults to the settings'. With a `seed` the same weights give the same responses. Greedy
        log-probabilities are those at temperature 1. Raises ValueError, naming the problem, for an empty prompt and one
        too long for the engine.
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
        """Draw `n` continuations of each beginning: token ids of a prompt and the response's first part.

        They come in the order of the beginnings; `prompt_ids` of a sample are its whole beginning, its text only what
        follows. One call for all: beginnings that begin alike, next to each other, are computed once (prefix cache). A
        continuation ends at the settings' `max_new_tokens`, or where the engine's `max_model_len` is full. Raises
        ValueError for a beginning that leaves no room for a token.
        """
        longest = max(map(len, beginnings), default=0)
        if longest >= self.settings.max_model_len:
            raise ValueError(
                f"a response of {longest} tokens with its prompt cannot be continued: raise rollout.max_model_len, "
                f"which is {self.settings.max_model_len}"
            )
        return self._draw(beginnings, Drawing(n, self.settings.max_new_tokens, **sampling, **self.stops), seed)

    def _draw(self, prompts: Sequence[tuple[int, ...]], drawing: Drawing, seed: int | None) -> list[list[Sample]]:
        """Responses to each prompt, the prompts shared out among the engines in blocks."""
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
        """Give every engine the weights in these object references; returns the slowest engine's seconds."""
        refs = [engine.load_weights.remote(buckets, version) for engine in self.engines]
        seconds = max(self._call(refs, f"weight sync {version}"))
        self.version = version
        return float(seconds)

    def forget_prefixes(self) -> None:
        """Drop every engine's prefix cache, so that a seed draws the same whatever was drawn before."""
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
                f"leaves {room}; raise rollout.max_model_len or leave the problem out"
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
